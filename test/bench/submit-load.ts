/** Submits jobs by REST at a steady rate, whether or not answers come, and times each from when it was due. */
import { Agent } from "node:http";
import { latencyFigures, serveBench } from "./child.ts";
import { post } from "./post.ts";

const body = JSON.stringify({ type: "audit", payload: { json: { type: "user.login", actor: "ada" } } });

await serveBench<{ url: string; token: string }>(async ({ url, token }) => {
  const agent = new Agent({ keepAlive: true });
  const headers = { authorization: `Bearer ${token}` };
  return {
    async work({ perSecond, seconds }) {
      const total = Number(perSecond) * Number(seconds);
      const latencies: number[] = [];
      let failed = 0;
      const start = performance.now();
      const running: Promise<void>[] = [];
      for (let sent = 0; sent < total; sent++) {
        const due = start + (sent * 1000) / Number(perSecond);
        const early = due - performance.now();
        if (early > 0) await new Promise((next) => setTimeout(next, early));
        running.push(
          post(`${url}/api/v1/jobs`, body, { agent, headers }).then((status) => {
            latencies.push(performance.now() - due);
            if (status !== 200) failed++;
          }),
        );
      }
      await Promise.all(running);
      return { failed, ...latencyFigures(latencies) };
    },
    stop: async () => agent.destroy(),
  };
});
