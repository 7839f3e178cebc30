import type { CallOptions } from "@connectrpc/connect";
import { callerHeader, encodeCaller } from "@millrace/protocol";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SubmitJobRequestSchema, type Priority } from "@millrace/protocol";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { openStore } from "@millrace/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projected, startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { toJobMessage } from "./job-message.ts";
import { RecentJobs } from "./recent-jobs.ts";
import { TakenIds } from "./taken-ids.ts";

/** On a machine that has much to do the database may answer too late. */
const patient = { timeout: 30_000 };
let fixture: ControlFixture;
beforeAll(async () => {
  // Nothing is remembered: what is known is in the rows.
  fixture = await startControlFixture({ recentJobs: 0 });
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

/** As a gateway calls for this user. */
function as(subject: string): CallOptions {
  const none = { email: "", permissions: [], queues: [], types: [], tokenId: "", sessionId: "", address: "" };
  return { headers: { [callerHeader]: encodeCaller({ ...none, subject, requestId: "r", door: "rest" }) } };
}

test("an id is one job's: not another owner's, queue's or type's", async () => {
  const { jobs } = fixture;
  const job = { id: "order-1", queue: "shop", type: "pay" };
  await jobs.submitJob(job, as("ada"));
  await projected(fixture);
  const codeOf = async (request: typeof job, subject: string): Promise<string> => {
    const { outcomes } = await jobs.submitJobs({ jobs: [request] }, as(subject));
    return outcomes[0]?.errorCode ?? "";
  };
  const refused = (request: typeof job, subject: string) =>
    expect.poll(() => codeOf(request, subject), patient).toBe("already_exists");
  await refused(job, "eve");
  await refused(job, "anonymous");
  await refused({ ...job, queue: "other" }, "ada");
  await refused({ ...job, type: "refund" }, "ada");
  // Whoever submits a job again must not be told that somebody else has it.
  expect(await codeOf(job, "ada")).toBe("");
  expect(await codeOf({ ...job, id: "order-2" }, "eve")).toBe("");
});

test("many ids are looked up together", async () => {
  const ids = Array.from({ length: 1000 }, (_, index) => `bulk-${index}`);
  const job = { queue: "bulk", type: "t" };
  await fixture.jobs.submitJobs({ jobs: ids.map((id) => ({ ...job, id })) }, as("ada"));
  await projected(fixture);
  const refused = async (): Promise<number> => {
    const { outcomes } = await fixture.jobs.submitJobs({ jobs: ids.map((id) => ({ ...job, id })) }, as("eve"));
    return outcomes.filter(({ errorCode }) => errorCode === "already_exists").length;
  };
  await expect.poll(refused, patient).toBe(ids.length);
});

type Submission = MessageInitShape<typeof SubmitJobRequestSchema>;

/** Known by the logs alone: nothing is remembered, and the database is away. */
async function byLogs(): Promise<
  AsyncDisposable & { isKnown: (request: Submission, owner?: string) => Promise<boolean> }
> {
  const store = await openStore({ databaseUrl: "postgres://127.0.0.1:1/away" });
  const taken = new TakenIds(fixture.bus, store, new RecentJobs(0, 0));
  return {
    isKnown: (request, owner = "") => taken.isKnown(messageOf(request, owner)),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

function messageOf(request: Submission, owner: string) {
  return toJobMessage(create(SubmitJobRequestSchema, request), { traceparent: "", reply: "", owner }, Date.now());
}

test("the logs know a job from its PubAck on, whatever its priority and whether it waits for its time", async () => {
  const { jobs } = fixture;
  await using logs = await byLogs();
  const runAt = timestampFromMs(Date.now() + 3_600_000);
  const job = { queue: "logged", type: "t" };
  await jobs.submitJob({ ...job, id: "delayed", runAt, priority: 1 }, as("ada"));
  await jobs.submitJob({ ...job, id: "nobodys", priority: 4 });
  expect(await logs.isKnown({ ...job, id: "delayed" }, "ada")).toBe(true);
  expect(await logs.isKnown({ ...job, id: "delayed", priority: 2 }, "ada")).toBe(true);
  expect(await logs.isKnown({ ...job, id: "nobodys", runAt, priority: 3 })).toBe(true);
  // As an id that is not known: another's job is another subject, and the rows are away.
  expect(await logs.isKnown({ ...job, id: "delayed" }, "eve")).toBe(false);
  expect(await logs.isKnown({ ...job, id: "never" })).toBe(false);
});

test("the same job again is a duplicate, by whatever door and however late, and is not stored again", async () => {
  const { jobs, bus } = fixture;
  const job = { id: "again", queue: "again", type: "t" };
  const runAt = timestampFromMs(Date.now() + 3_600_000);
  const count = async () =>
    (await bus.streamState("JOBS_HIGH")).messages + (await bus.streamState("SCHEDULE")).messages;
  expect((await jobs.submitJob({ ...job, runAt })).duplicate).toBe(false);
  const before = await count();
  const others: Submission[] = [job, { ...job, priority: 2 }, { ...job, runAt }, { ...job, runAt, priority: 1 }];
  for (const other of others) {
    expect(await jobs.submitJob(other)).toMatchObject({ id: "again", duplicate: true });
  }
  expect(await count()).toBe(before);
  expect((await bus.lastMessage("JOBS_NORMAL", "jobs.normal.again.t.again"))?.seq).toBeUndefined();
});

test("of many submissions of one id at once, one is stored", async () => {
  const { jobs } = fixture;
  const runAt = timestampFromMs(Date.now() + 3_600_000);
  const { outcomes } = await jobs.submitJobs({
    jobs: Array.from({ length: 20 }, (_, index) => ({
      id: "crowd",
      type: "t",
      priority: ((index % 4) + 1) as Priority,
      ...(index % 2 === 0 ? { runAt } : {}),
    })),
  });
  expect(outcomes.filter(({ errorCode }) => errorCode !== "")).toEqual([]);
  expect(outcomes.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
});

test("while the database is away jobs are accepted", async () => {
  await using store = await openStore({ databaseUrl: "postgres://127.0.0.1:1/away" });
  const taken = new TakenIds(fixture.bus, store, new RecentJobs(0, 0));
  expect(await taken.isKnown(messageOf({ id: "order-1", queue: "other", type: "t" }, "eve"))).toBe(false);
});
