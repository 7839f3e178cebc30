/** Graphile Worker: submits in bulk by SQL, works with a local queue, a no-op task. */
import { makeWorkerUtils, run } from "graphile-worker";
import { serveBench } from "./child.ts";

await serveBench<{ url: string }>(async ({ url }) => {
  const utils = await makeWorkerUtils({ connectionString: url });
  await utils.migrate();
  return {
    async work({ jobs }) {
      const total = Number(jobs);
      let seen = 0;
      const allSeen = Promise.withResolvers<void>();
      const start = performance.now();
      for (let i = 0; i < total; i += 1000) {
        await utils.addJobs(
          Array.from({ length: 1000 }, () => ({ identifier: "noop", payload: { text: "a".repeat(245) } })),
        );
      }
      const submitted = performance.now();
      const runner = await run({
        connectionString: url,
        concurrency: 24,
        noHandleSignals: true,
        preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
        taskList: {
          noop: () => {
            if (++seen === total) allSeen.resolve();
          },
        },
      });
      await allSeen.promise;
      await runner.stop();
      const end = performance.now();
      return {
        submitPerSecond: (total / (submitted - start)) * 1000,
        workPerSecond: (total / (end - submitted)) * 1000,
        perSecond: (total / (end - start)) * 1000,
      };
    },
    stop: async () => {
      await utils.release();
    },
  };
});
