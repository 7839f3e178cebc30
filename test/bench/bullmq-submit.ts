/** BullMQ: addBulk in chunks of 1000, and add-to-start latency when idle. */
import { Queue } from "bullmq";
import { serveBench, sharedNowMs } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const queue = new Queue("bench", { connection: { host: "127.0.0.1", port } });
  await queue.waitUntilReady();
  const data = "a".repeat(254);
  return {
    async work({ jobs, inFlight, latency, settleMs }) {
      if (latency !== undefined) {
        for (let i = 0; i < Number(latency); i++) {
          await queue.add("noop", { at: sharedNowMs() }, { removeOnComplete: true });
          await new Promise((resolve) => setTimeout(resolve, Number(settleMs)));
        }
        return {};
      }
      const total = Number(jobs);
      const start = performance.now();
      const chunk = Array.from({ length: 1000 }, () => ({ name: "noop", data, opts: { removeOnComplete: true } }));
      const sizes = Array.from({ length: total / 1000 }, (_, i) => i);
      await Promise.all(
        Array.from({ length: Number(inFlight ?? 4) }, async () => {
          while (sizes.pop() !== undefined) await queue.addBulk(chunk);
        }),
      );
      return { perSecond: (total / (performance.now() - start)) * 1000 };
    },
    stop: () => queue.close(),
  };
});
