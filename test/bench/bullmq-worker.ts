/** BullMQ: a worker with a no-op processor. */
import { Worker } from "bullmq";
import { latencyFigures, serveBench, sharedNowMs } from "./child.ts";

await serveBench<{ port: number; concurrency: number }>(async ({ port, concurrency }) => {
  let seen = 0;
  let start = 0;
  let waited: number[] = [];
  let onSeen: () => void = () => {};
  const worker = new Worker(
    "bench",
    async (job) => {
      if (typeof job.data === "object") waited.push(sharedNowMs() - Number(job.data.at));
      if (start === 0) start = performance.now();
    },
    { connection: { host: "127.0.0.1", port }, concurrency },
  );
  worker.on("completed", () => {
    seen++;
    onSeen();
  });
  await worker.waitUntilReady();
  return {
    async work({ jobs }) {
      await new Promise<void>((resolve) => {
        onSeen = () => {
          if (seen >= Number(jobs)) resolve();
        };
        onSeen();
      });
      const figures = { perSecond: (seen / (performance.now() - start)) * 1000, ...latencyFigures(waited) };
      seen = 0;
      start = 0;
      waited = [];
      return figures;
    },
    stop: () => worker.close(true),
  };
});
