import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { JobService, JobState, PayloadSchema } from "@millrace/protocol";
import { connect, type ConnectionOptions } from "nats";
import { expect } from "vitest";
import { bearerToken } from "@millrace/client";
import type { SystemUnderTest } from "./standalone.ts";

/**
 * What a user does in a day, the same for each arrangement of processes: submit by three doors, wait, watch, list, cancel,
 * retry, pause, call a plugin.
 */
export async function runScenario(
  system: Pick<SystemUnderTest, "rest" | "grpcAddress" | "natsUrl" | "token"> & {
    /** Where the broker has users: a publisher's. */
    readonly publisher?: ConnectionOptions;
  },
): Promise<void> {
  const { rest } = system;
  const login = { type: "user.login", actor: "ada", success: true };

  // Waiting for the result, straight from the worker.
  const waited = await rest.submit({ id: "s-rest", type: "audit", payload: { json: login }, waitMs: 10_000 });
  expect(waited.result).toMatchObject({ state: "JOB_STATE_SUCCEEDED", output: { json: { event: "user.login" } } });
  await rest.jobIn("s-rest", "JOB_STATE_SUCCEEDED");

  // gRPC: submit, then watch until the end.
  const client = createClient(
    JobService,
    createGrpcTransport({ baseUrl: `http://${system.grpcAddress}`, interceptors: [bearerToken(system.token)] }),
  );
  const payload = create(PayloadSchema, { content: { case: "text", value: JSON.stringify(login) } });
  await client.submitJob({ id: "s-grpc", type: "audit", payload });
  let last: JobState = JobState.UNSPECIFIED;
  for await (const { update } of client.watchJob({ id: "s-grpc" }))
    if (update.value !== undefined) last = update.value.state;
  expect(last).toBe(JobState.SUCCEEDED);

  // A client stream through the gateway.
  const totals = await client.streamJobs(
    (async function* () {
      for (let i = 0; i < 100; i++) yield { id: `s-stream-${i}`, type: "audit", payload, tags: ["streamed"] };
    })(),
  );
  expect(Number(totals.accepted)).toBe(100);
  await rest.jobIn("s-stream-99", "JOB_STATE_SUCCEEDED");

  // Raw NATS.
  const nats = await connect({ servers: system.natsUrl, ...system.publisher });
  try {
    nats.publish("jobs.critical.default.audit.s-nats", JSON.stringify(login));
    await rest.jobIn("s-nats", "JOB_STATE_SUCCEEDED");
    const method = "rpc.millrace.jobs.v1.JobService.ListQueues";
    const reply = nats.request(method, "{}", { timeout: 5000 });
    if (system.publisher !== undefined) await expect(reply).rejects.toMatchObject({ code: "PERMISSIONS_VIOLATION" });
    else {
      const { queues } = (await reply).json<{ queues: { queue: string }[] }>();
      expect(queues.map(({ queue }) => queue)).toContain("default");
    }
  } finally {
    await nats.close();
  }

  // A failing job: one attempt, dead, run again, dead again.
  await rest.submit({ id: "s-dead", type: "audit", payload: { text: "no json" }, maxAttempts: 1 });
  expect(await rest.jobIn("s-dead", "JOB_STATE_DEAD")).toMatchObject({ attempt: 1, error: { code: "HANDLER_FAILED" } });
  expect((await rest.call("POST", "/api/v1/jobs/s-dead:retry", {})).body).toMatchObject({ run: 2, attempt: 1 });
  await expect.poll(async () => (await rest.job("s-dead"))?.run, { timeout: 10_000 }).toBe(2);
  await rest.jobIn("s-dead", "JOB_STATE_DEAD");

  // A job that is not due yet, and is cancelled.
  const runAt = new Date(Date.now() + 3_600_000).toISOString();
  await rest.submit({ id: "s-later", type: "audit", payload: { json: login }, runAt });
  await rest.jobIn("s-later", "JOB_STATE_SCHEDULED");
  expect((await rest.call("POST", "/api/v1/jobs/s-later:cancel", {})).status).toBe(200);
  await rest.jobIn("s-later", "JOB_STATE_CANCELLED");

  // A job that becomes due.
  await rest.submit({
    id: "s-soon",
    type: "audit",
    payload: { json: login },
    runAt: new Date(Date.now() + 700).toISOString(),
  });
  await rest.jobIn("s-soon", "JOB_STATE_SUCCEEDED");

  // A paused queue keeps its jobs.
  expect((await rest.call("POST", "/api/v1/queues/default:pause", {})).status).toBe(200);
  await expect
    .poll(
      async () => (await rest.call<{ stats: { paused?: boolean } }>("GET", "/api/v1/queues/default")).body.stats.paused,
    )
    .toBe(true);
  await rest.submit({ id: "s-paused", type: "audit", payload: { json: login } });
  await rest.jobIn("s-paused", "JOB_STATE_QUEUED");
  expect((await rest.call("POST", "/api/v1/queues/default:resume", {})).status).toBe(200);
  await rest.jobIn("s-paused", "JOB_STATE_SUCCEEDED");

  // The plugin, outside any queue.
  const plugins = await rest.call<{ plugins: { manifest: { name: string } }[] }>("GET", "/api/v1/plugins");
  expect(plugins.body.plugins.map(({ manifest }) => manifest.name)).toContain("audit");
  const dry = await rest.call("POST", "/api/v1/plugins/audit:call", {
    export: "on_audit_event",
    input: { json: login },
  });
  expect(dry).toMatchObject({ status: 200, body: { output: { json: { event: "user.login" } } } });

  // Statistics come out even.
  const stats = await rest.call<{ stats: { succeeded: string; dead: string; cancelled: string; queued?: string } }>(
    "GET",
    "/api/v1/queues/default",
  );
  expect(Number(stats.body.stats.succeeded)).toBeGreaterThanOrEqual(105);
  expect(stats.body.stats).toMatchObject({ dead: "1", cancelled: "1" });
}
