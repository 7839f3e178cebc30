/** pg-boss: inserts in batches of 1000, fetches and completes in batches of 500. */
import PgBoss from "pg-boss";
import { serveBench } from "./child.ts";

await serveBench<{ url: string }>(async ({ url }) => {
  const boss = new PgBoss({ connectionString: url, schedule: false, supervise: false });
  await boss.start();
  await boss.createQueue("bench");
  return {
    async work({ jobs }) {
      const total = Number(jobs);
      const start = performance.now();
      for (let i = 0; i < total; i += 1000) {
        await boss.insert(
          "bench",
          Array.from({ length: 1000 }, () => ({ name: "bench", data: { text: "a".repeat(245) } })),
        );
      }
      const submitted = performance.now();
      for (let done = 0; done < total;) {
        const batch = await boss.fetch("bench", { batchSize: 500 });
        if (batch.length === 0) throw new Error(`no job after ${done} of ${total}`);
        await boss.complete(
          "bench",
          batch.map((job) => job.id),
        );
        done += batch.length;
      }
      const end = performance.now();
      return {
        submitPerSecond: (total / (submitted - start)) * 1000,
        workPerSecond: (total / (end - submitted)) * 1000,
        perSecond: (total / (end - start)) * 1000,
      };
    },
    stop: () => boss.stop({ graceful: false }),
  };
});
