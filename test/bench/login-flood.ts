/**
 * Logs in at a steady rate, half with the right password and half with wrong ones, whether or not answers come. Wrong ones
 * come from many addresses and for many emails: one address or account would be made to wait, which costs less.
 */
import { Agent } from "node:http";
import { serveBench } from "./child.ts";
import { post } from "./post.ts";

await serveBench<{ url: string; email: string; password: string }>(async ({ url, email, password }) => {
  // Each login is somebody else's: a connection of its own.
  const agent = new Agent({ keepAlive: false });
  let count = 0;

  function logIn(right: boolean): Promise<number> {
    const nth = count++;
    const localAddress = `127.1.${(nth >> 8) % 256}.${nth % 256}`;
    const credentials = right
      ? { email, password }
      : { email: `guess${nth}@example.com`, password: `guess ${nth} of it` };
    return post(`${url}/api/v1/auth/login`, JSON.stringify(credentials), { agent, localAddress, headers: {} });
  }

  return {
    async work({ perSecond, seconds }) {
      const total = Number(perSecond) * Number(seconds);
      const figures = { in: 0, wrong: 0, refused: 0 };
      const start = performance.now();
      const running: Promise<void>[] = [];
      for (let sent = 0; sent < total; sent++) {
        const early = start + (sent * 1000) / Number(perSecond) - performance.now();
        if (early > 0) await new Promise((next) => setTimeout(next, early));
        running.push(
          logIn(sent % 2 === 0).then((status) => {
            figures[status === 200 ? "in" : status === 401 ? "wrong" : "refused"]++;
          }),
        );
      }
      await Promise.all(running);
      return figures;
    },
    stop: async () => agent.destroy(),
  };
});
