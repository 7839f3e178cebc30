import type { CallOptions } from "@connectrpc/connect";
import { callerHeader, encodeCaller } from "@millrace/protocol";
import { Code, errorDetails, type ConnectError } from "@millrace/rpc";
import { LiveConfig, loadConfig, z } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { controlSettings } from "./config.ts";
import { projected, startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { ownerQuotas } from "./owner-quotas.ts";

const payload = { content: { case: "text" as const, value: "x".repeat(100) } };
let fixture: ControlFixture;

beforeAll(async () => {
  const schema = z.object(controlSettings);
  const env = { MILLRACE_QUOTA_JOBS: "3", MILLRACE_QUOTA_BYTES: "1000" };
  fixture = await startControlFixture({}, { live: new LiveConfig(schema, loadConfig(schema, { env })) });
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

/** As a gateway calls for this user. */
function as(subject: string): CallOptions {
  const none = { email: "", permissions: [], queues: [], types: [], tokenId: "", sessionId: "", address: "" };
  return { headers: { [callerHeader]: encodeCaller({ ...none, subject, requestId: "r", door: "rest" }) } };
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error as ConnectError;
}

/** What has ended a moment ago may count a little longer: figures have an age. */
async function accepted(id: string, owner: string): Promise<void> {
  const submit = async () => (await refusal(fixture.jobs.submitJob({ id, type: "t", payload }, as(owner))))?.message;
  await expect.poll(submit, { timeout: 10_000 }).toBeUndefined();
}

it("bounds what a user has queued, whoever counts it, and gives back what has ended", async () => {
  const { jobs } = fixture;
  for (const id of ["a1", "a2", "a3"]) await jobs.submitJob({ id, type: "t", payload }, as("ada"));
  const refused = await refusal(jobs.submitJob({ type: "t", payload }, as("ada")));
  expect([refused.code, refused.rawMessage]).toEqual([
    Code.ResourceExhausted,
    "you have 3 jobs queued; the limit is 3",
  ]);
  expect(refused.metadata.get("retry-after")).toBe("1");
  expect(errorDetails(refused)).toEqual([{ field: "queued_jobs", reason: "3 jobs of at most 3" }]);
  // Others have quotas of their own, and who names nobody has none.
  await jobs.submitJob({ id: "e1", type: "t", payload }, as("eve"));
  await jobs.submitJob({ id: "e1", type: "t", payload }, as("eve"));
  for (let i = 0; i < 5; i++) await jobs.submitJob({ type: "t", payload });
  await jobs.submitJob({ type: "t", payload }, as("anonymous"));

  await projected(fixture);
  expect(await fixture.store.readOwnerLoad("ada", "jobs")).toMatchObject({ jobs: 3, bytes: 300 });
  // A repeated id was stored once.
  expect(await fixture.store.readOwnerLoad("eve", "jobs")).toMatchObject({ jobs: 1 });
  const { job } = await jobs.getJob({ id: "a1" });
  expect(job?.owner).toBe("ada");
  expect((await jobs.listJobs({ owner: "ada" })).jobs.map(({ id }) => id).toSorted()).toEqual(["a1", "a2", "a3"]);

  await jobs.cancelJob({ id: "a2" });
  await projected(fixture);
  await accepted("a4", "ada");
});

it("counts bytes, and each job of a bulk and of a stream", async () => {
  const { jobs } = fixture;
  const large = { content: { case: "text" as const, value: "x".repeat(600) } };
  const { outcomes } = await jobs.submitJobs(
    {
      jobs: [
        { type: "t", payload: large },
        { type: "t", payload: large },
      ],
    },
    as("bob"),
  );
  expect(outcomes.map(({ errorCode, errorMessage }) => [errorCode, errorMessage])).toEqual([
    ["", ""],
    ["resource_exhausted", "you have 600 bytes queued; the limit is 1000, and this job has 600"],
  ]);
  const totals = await jobs.streamJobs(
    (async function* () {
      for (let i = 0; i < 5; i++) yield { type: "t", payload };
    })(),
    as("cyd"),
  );
  expect(totals).toMatchObject({ accepted: 3n, refused: 2n });
  expect(totals.refusals.map(({ code }) => code)).toEqual(["resource_exhausted", "resource_exhausted"]);
});

it("counts a job that its owner runs again; an operator may in any case", async () => {
  const { jobs } = fixture;
  for (const id of ["f1", "f2"]) {
    await jobs.submitJob({ id, type: "t" }, as("fay"));
    await jobs.cancelJob({ id });
    await projected(fixture);
  }
  for (const id of ["f3", "f4", "f5"]) await accepted(id, "fay");
  await projected(fixture);
  expect((await refusal(jobs.retryJob({ id: "f1" }, as("fay")))).code).toBe(Code.ResourceExhausted);
  expect(await jobs.retryJob({ id: "f2" }, as("otto"))).toMatchObject({ run: 2, attempt: 1 });
  await projected(fixture);
  expect(await fixture.store.readOwnerLoad("fay", "jobs")).toMatchObject({ jobs: 4 });
});

it("keeps a scheduled job's owner", async () => {
  const { jobs } = fixture;
  const runAt = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) };
  await jobs.submitJob({ id: "later", type: "t", runAt }, as("dan"));
  expect((await jobs.getJob({ id: "later" })).job?.owner).toBe("dan");
  await projected(fixture);
  expect((await fixture.store.getJob("later"))?.job.owner).toBe("dan");
});

it("refuses what breaks a rule at its place, and takes the rest of a bulk", async () => {
  const { outcomes } = await fixture.jobs.submitJobs({ jobs: [{ type: "t", id: "ok" }, { type: "not a type" }] });
  expect(outcomes[0]).toMatchObject({ id: "ok", errorCode: "" });
  expect(outcomes[1]).toMatchObject({ errorCode: "invalid_argument" });
  expect(outcomes[1]?.errorMessage).toMatch(/^type: /);
});

const binaries = findPostgresBinaries();

it.skipIf(binaries === undefined)("goes by the last figures while the database is away", async () => {
  await using stack = new AsyncDisposableStack();
  const postgres = stack.use(await startTestPostgres(binaries ?? ""));
  const store = stack.use(await openStore({ databaseUrl: postgres.url }));
  await store.migrate();
  const { bus } = fixture;
  const limits = { quotaJobs: 3, quotaBytes: 1000 };
  const quotas = ownerQuotas({ bus, store, cursor: "jobs", limits, onRefused: () => undefined });
  const place = { stream: "JOBS_NORMAL", seq: 1_000_000 };
  (await quotas.hold("ada", 1))?.settle(place);
  await postgres.stop();
  const submit = async (owner: string) => (await quotas.hold(owner, 1))?.settle(place);
  await submit("ada");
  // Nothing was known of this one; what is not stored counts no more.
  (await quotas.hold("eve", 1))?.settle("no");
  for (const owner of ["ada", "eve", "eve", "eve"]) await submit(owner);
  for (const owner of ["ada", "eve"]) await expect(submit(owner)).rejects.toThrow("you have 3 jobs queued");
});
