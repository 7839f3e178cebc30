/** The ceiling for submitting: pipelined publishes of 256 bytes, PubAcks counted on one wildcard subscription. */
import { connect } from "nats";
import { serveBench } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const nc = await connect({ servers: `127.0.0.1:${port}` });
  const payload = new Uint8Array(256).fill(97);
  return {
    async work({ jobs, window, queue }) {
      const total = Number(jobs);
      const inFlight = Number(window);
      const inbox = `_INBOX.bench${Math.random().toString(36).slice(2)}`;
      const start = performance.now();
      let sent = 0;
      let acked = 0;
      await new Promise<void>((resolve, reject) => {
        const fill = () => {
          while (sent < total && sent - acked < inFlight) {
            nc.publish(`jobs.normal.${String(queue)}.noop.${sent}`, payload, { reply: `${inbox}.${sent}` });
            sent++;
          }
        };
        nc.subscribe(`${inbox}.*`, {
          callback(error) {
            if (error !== null) return reject(error);
            acked++;
            if (acked === total) resolve();
            else if (sent - acked < inFlight / 2) fill();
          },
        });
        fill();
      });
      return { perSecond: (total / (performance.now() - start)) * 1000 };
    },
    stop: () => nc.close(),
  };
});
