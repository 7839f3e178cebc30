import { once } from "node:events";
import { createServer } from "node:net";

/** Below the ports that systems give to whoever connects (32768 on Linux, 49152 elsewhere), above those of common services. */
const firstPort = 21_000;
const lastPort = 31_999;
const tries = 100;

/** A free port for somebody who goes away and comes back: nobody is given it in between just for connecting somewhere. */
export async function lastingPort(): Promise<number> {
  for (let i = 0; i < tries; i++) {
    const port = firstPort + Math.floor(Math.random() * (lastPort - firstPort + 1));
    const server = createServer();
    try {
      const listening = once(server, "listening");
      server.listen(port, "127.0.0.1");
      await listening;
    } catch {
      continue;
    }
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error(`no free port from ${firstPort} to ${lastPort}`);
}
