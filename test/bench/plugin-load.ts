/** Publishes plugin jobs at a steady rate and takes their results: latency from publish to result, and failures. */
import { connectBus } from "@millrace/bus";
import { fromBinary } from "@bufbuild/protobuf";
import { headerNames, JobResultSchema, JobState } from "@millrace/protocol";
import { latencyFigures, serveBench } from "./child.ts";

const tickMs = 5;

await serveBench<{ port: number }>(async ({ port }) => {
  const bus = await connectBus({ servers: `nats://127.0.0.1:${port}`, name: "bench-load" });
  let run = 0;
  return {
    async work({ queue, type, jobs, perSecond, input }) {
      const total = Number(jobs);
      const payload = new TextEncoder().encode(String(input ?? ""));
      const inbox = bus.newInbox();
      const sentAt = new Map<string, number>();
      const latencies: number[] = [];
      let failed = 0;
      const { promise, resolve } = Promise.withResolvers<void>();
      using _ = bus.subscribe(`${inbox}.>`, {}, ({ data }) => {
        const { id, state } = fromBinary(JobResultSchema, data);
        const at = sentAt.get(id);
        if (at === undefined) return;
        sentAt.delete(id);
        latencies.push(performance.now() - at);
        if (state !== JobState.SUCCEEDED) failed++;
        if (latencies.length === total) resolve();
      });
      await bus.flush();
      const prefix = `load${process.pid}-${run++}`;
      const start = performance.now();
      await using publisher = bus.publisher();
      for (let sent = 0; sent < total;) {
        const due =
          perSecond === undefined ? total : Math.floor(((performance.now() - start) / 1000) * Number(perSecond));
        for (; sent < Math.min(due, total); sent++) {
          const id = `${prefix}-${sent}`;
          sentAt.set(id, performance.now());
          const headers = [[headerNames.replyTo, `${inbox}.${id}`]] as const;
          void publisher.publish({
            subject: `jobs.normal.${String(queue)}.${String(type)}.${id}`,
            data: payload,
            headers,
          });
        }
        if (sent < total) await new Promise((next) => setTimeout(next, tickMs));
      }
      await promise;
      return { ms: performance.now() - start, failed, ...latencyFigures(latencies) };
    },
    stop: () => bus[Symbol.asyncDispose](),
  };
});
