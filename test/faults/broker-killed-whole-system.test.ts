import { connectBus } from "@millrace/bus";
import { jobStream, priorityNames, queueConsumer } from "@millrace/protocol";
import { expect, it } from "vitest";
import { expectAllAccountedFor } from "../lib/accounting.ts";
import { startFaultSystem } from "../lib/fault-system.ts";
import { startPostgres } from "../lib/postgres.ts";
import { publishLoad } from "../lib/publish-load.ts";
import { startFaultWorker } from "../lib/start-fault-worker.ts";
import { until } from "../lib/until.ts";

const jobs = 10_000;
const queue = "crashed";

it("ends every accepted job with one row although the broker is killed under load, and leaves no zombie", async () => {
  await using postgres = await startPostgres();
  await using system = await startFaultSystem(postgres?.url);
  const { nats } = system;
  await using _ = await startFaultWorker({ natsUrl: system.natsUrl, queue });
  const load = publishLoad({ natsUrl: system.natsUrl, queue, jobs });
  for (const share of [0.25, 0.5, 0.75]) {
    await load.whenAccepted(jobs * share);
    await nats.kill9();
    await nats.restart();
  }
  // The publisher outlives each crash: what it could not deliver at once it delivers later.
  expect([...(await load.ended)]).toEqual([]);
  expect(load.accepted.size).toBe(jobs);

  const rows = await expectAllAccountedFor(system.rest, queue, load.accepted, 120_000);
  expect(rows.length).toBe(jobs);
  expect(rows.filter((job) => job.state !== "JOB_STATE_SUCCEEDED")).toEqual([]);
  await using bus = await connectBus({ servers: system.natsUrl, name: "observer" });
  await until(
    async () => {
      const consumer = queueConsumer(queue);
      const states = await Promise.all(
        priorityNames.map((priority) => bus.consumerState(jobStream(priority), consumer)),
      );
      return states.every(({ pending, ackPending }) => pending + ackPending === 0) ? true : undefined;
    },
    "nothing to be left to deliver",
    90_000,
  );
  expect((await system.rest.call("GET", "/health/ready")).status).toBe(200);
});
