import { expect, it } from "vitest";
import { expectAllAccountedFor } from "../lib/accounting.ts";
import { startFaultSystem } from "../lib/fault-system.ts";
import { startPostgres } from "../lib/postgres.ts";
import { publishLoad } from "../lib/publish-load.ts";
import { startFaultWorker } from "../lib/start-fault-worker.ts";

const jobs = 6000;
const queue = "killed";

it("runs every job to its end although workers are killed in mid-job, and records each once", async () => {
  await using postgres = await startPostgres();
  await using system = await startFaultSystem(postgres?.url);
  const options = { natsUrl: system.natsUrl, queue };
  const held = ["held-1", "held-2", "held-3"];

  // These three are running for good in the first worker when it dies.
  await using first = await startFaultWorker({ ...options, holds: true });
  for (const id of held) await system.rest.submit({ id, queue, type: "hold" });
  await Promise.all(held.map((id) => first.whenRunning(id)));

  const load = publishLoad({ ...options, jobs });
  await load.whenAccepted(jobs * 0.3);
  await first.kill9();
  await using second = await startFaultWorker(options);
  await load.whenAccepted(jobs * 0.7);
  await second.kill9();
  await using last = await startFaultWorker(options);
  expect([...(await load.ended)]).toEqual([]);

  const rows = await expectAllAccountedFor(system.rest, queue, new Set([...load.accepted, ...held]), 120_000);
  expect(rows.length).toBe(jobs + held.length);
  expect(rows.filter((job) => job.state !== "JOB_STATE_SUCCEEDED")).toEqual([]);
  // A crash is not the job's fault: the same attempt runs again, in another process.
  const { body } = await system.rest.call<{ job: object }>("GET", "/api/v1/jobs/held-1");
  expect(body.job).toMatchObject({ attempt: 1 });
  expect(JSON.stringify(body.job)).not.toContain(`"by":${first.process.child.pid}`);
  expect(last.process.ended).toBe(false);
});
