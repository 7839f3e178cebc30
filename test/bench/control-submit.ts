/** A control in this process that takes jobs in bulk, under ids of the callers or its own; its database is a PostgreSQL. */
import { createClient } from "@connectrpc/connect";
import { connectBus } from "@millrace/bus";
import { startControl } from "@millrace/control";
import { JobService } from "@millrace/protocol";
import { createDirectTransport, createPipeline } from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { serveBench } from "./child.ts";

const bulk = 1000;
/** Such calls at one time. */
const inFlight = 2;

await serveBench<{ port: number; url: string }>(async ({ port, url }) => {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await connectBus({ servers: `nats://127.0.0.1:${port}`, name: "bench" }));
  const store = stack.use(await openStore({ databaseUrl: url }));
  await store.migrate();
  const logger = createLogger({ name: "bench", level: "error" });
  const deps = { bus, store, logger, metrics: createMetrics(), health: new Health() };
  const control = stack.use(await startControl({}, deps));
  const jobs = createClient(JobService, createDirectTransport(createPipeline({ services: control.services })));
  const payload = { content: { case: "raw" as const, value: new Uint8Array(256).fill(97) } };
  const running = stack.move();
  let made = 0;
  return {
    async work({ jobs: total, chosen }) {
      let left = Number(total);
      const start = performance.now();
      const submit = async (): Promise<void> => {
        while (left > 0) {
          const many = Math.min(bulk, left);
          left -= many;
          const list = Array.from({ length: many }, () => ({
            id: chosen === true ? `bench-${made++}` : "",
            queue: "bulk",
            type: "t",
            payload,
          }));
          const { outcomes } = await jobs.submitJobs({ jobs: list });
          const refused = outcomes.find(({ errorCode, duplicate }) => errorCode !== "" || duplicate);
          if (refused !== undefined) throw new Error(`not accepted: ${JSON.stringify(refused)}`);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, submit));
      return { perSecond: (Number(total) / (performance.now() - start)) * 1000 };
    },
    stop: () => running.disposeAsync(),
  };
});
