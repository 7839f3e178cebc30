/** Submitting by `@millrace/client`; and one job at a time for latencies. */
import { createPublisher } from "@millrace/client";
import { serveBench, sharedNowMs } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const publisher = await createPublisher({ natsUrl: `nats://127.0.0.1:${port}` });
  const payload = new Uint8Array(256).fill(97);
  return {
    async work({ jobs, queue, queues, type, priority, latency, everyMs, text, ids }) {
      // Several take turns.
      const lanes = (queues as string[] | undefined) ?? [String(queue)];
      const laneOf = (i: number): string => lanes[i % lanes.length]!;
      const level = (priority ?? "normal") as "normal";
      if (latency !== undefined) {
        for (let i = 0; i < Number(latency); i++) {
          await publisher.publish({
            queue: laneOf(i),
            type: String(type),
            priority: level,
            payload: JSON.stringify({ at: sharedNowMs() }),
          });
          await new Promise((resolve) => setTimeout(resolve, Number(everyMs)));
        }
        return {};
      }
      const total = Number(jobs);
      const start = performance.now();
      const content = text === undefined ? payload : String(text);
      await publisher.publishMany(
        (function* () {
          for (let i = 0; i < total; i++) {
            const job = { queue: laneOf(i), type: String(type), priority: level, payload: content };
            // Of the length of those that Millrace makes.
            yield ids === "given" ? { ...job, id: `given-${String(i).padStart(20, "0")}` } : job;
          }
        })(),
      );
      return { perSecond: (total / (performance.now() - start)) * 1000 };
    },
    stop: () => publisher[Symbol.asyncDispose](),
  };
});
