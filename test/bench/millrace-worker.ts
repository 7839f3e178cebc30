/** A worker with the handlers that the benchmarks need: `noop`, `sleep5` and `stamp`. */
import { startWorker } from "@millrace/worker";
import { latencyFigures, serveBench, sharedNowMs, type Figures } from "./child.ts";

interface Input {
  readonly port: number;
  readonly queues: string[];
  readonly slots?: number;
  readonly queueIdleMs?: number;
  readonly executors?: number;
  readonly pluginHttpPrivate?: string[];
}

await serveBench<Input>(async (input) => {
  let seen = 0;
  let first = 0;
  let target = Number.POSITIVE_INFINITY;
  let reached: () => void = () => {};
  let waited: number[] = [];
  const count = () => {
    if (first === 0) first = performance.now();
    if (++seen === target) reached();
  };
  const decoder = new TextDecoder();
  const worker = await startWorker({
    queues: input.queues,
    natsUrl: `nats://127.0.0.1:${input.port}`,
    executors: input.executors ?? 0,
    pluginHttpPrivate: input.pluginHttpPrivate ?? [],
    ...(input.slots === undefined ? {} : { slots: input.slots }),
    ...(input.queueIdleMs === undefined ? {} : { queueIdleMs: input.queueIdleMs }),
    handlers: {
      noop: async () => {
        count();
      },
      sleep5: async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
      stamp: async (job) => {
        const { at } = JSON.parse(decoder.decode(job.payload)) as { at: number };
        waited.push(sharedNowMs() - at);
        count();
      },
    },
  });
  let settledBefore = 0;
  /** Settled means that the event is durable and the ack has left. */
  const settled = async (jobs: number): Promise<void> => {
    while (worker.status().settled - settledBefore < jobs) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  return {
    async work({ jobs, settledJobs, memory, status }): Promise<Figures> {
      if (status === true) return { asleep: worker.status().asleep, lookedUp: worker.status().lookedUp };
      if (memory === true) {
        globalThis.gc?.();
        const { rss, heapUsed } = process.memoryUsage();
        return { rss, heapUsed };
      }
      if (settledJobs !== undefined) {
        await settled(Number(settledJobs));
      } else {
        target = Number(jobs);
        await new Promise<void>((resolve) => {
          reached = resolve;
          if (seen >= target) resolve();
        });
        if (waited.length === 0) await settled(target);
      }
      const figures = { perSecond: (seen / (performance.now() - first)) * 1000, ...latencyFigures(waited) };
      settledBefore = worker.status().settled;
      seen = 0;
      first = 0;
      waited = [];
      target = Number.POSITIVE_INFINITY;
      return figures;
    },
    stop: async () => worker[Symbol.asyncDispose](),
  };
});
