import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { startProjector } from "@millrace/projector";
import {
  EventBatchSchema,
  eventBatchSubject,
  EventKind,
  headerNames,
  JobState,
  LogService,
  Priority,
} from "@millrace/protocol";
import { Code, ConnectError } from "@millrace/rpc";
import { createLogger } from "@millrace/service-kit";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { EndsInEvents } from "./ends-in-events.ts";

const soon = { timeout: 20_000 };
let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture({ lostKeyMs: 0, cancelSweepMs: 50, markPatienceMs: 100, markKeepMs: 100 });
  await fixture.projector[Symbol.asyncDispose]();
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

const logger = createLogger({ name: "test", level: "silent" });
const nothing = new Uint8Array(0);

async function refusal(call: Promise<unknown>): Promise<{ readonly code: Code; readonly words: string }> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error("was not refused", { cause: error });
  return { code: error.code, words: error.rawMessage };
}

const isMarked = async (id: string): Promise<boolean> => (await fixture.bus.kv("cancel").get(id)) !== undefined;

test("a job that a log knows by its subject is cancelled; of another, a mark says it, and the sweep once it can", async () => {
  const { bus, jobs, store } = fixture;
  await bus.publishDurable("jobs.low.default.t.bare", nothing);
  await bus.publishDurable("schedule.high.default.t.owned.ada", nothing, [
    [headerNames.runAt, String(Date.now() + 3_600_000)],
  ]);
  await bus.publishDurable("jobs.normal.default.t", nothing, [[headerNames.id, "hidden"]]);
  for (const id of ["bare", "owned"]) {
    expect((await jobs.cancelJob({ id })).state).toBe(JobState.CANCELLED);
    expect(await isMarked(id)).toBe(true);
  }
  for (const id of ["hidden", "nobody"]) {
    const { code, words } = await refusal(jobs.cancelJob({ id, reason: "enough" }));
    expect(code).toBe(Code.Unavailable);
    expect(words).toBe(
      `whether there is a job ${id} cannot be told: the read model is behind, or away. If there is, it does not run`,
    );
    expect(await isMarked(id)).toBe(true);
  }
  await using projector = await startProjector({}, { bus, store, logger });
  void projector;
  const stateOf = async (id: string) => (await store.getJob(id))?.job.state;
  for (const id of ["hidden", "bare", "owned"]) {
    await expect.poll(() => stateOf(id), soon).toBe(JobState.CANCELLED);
  }
  expect((await store.getJob("hidden"))?.job.error).toMatchObject({ message: "enough" });
  await expect.poll(() => isMarked("nobody"), soon).toBe(false);
  expect(await isMarked("hidden")).toBe(true);
}, 60_000);

test("who cancels jobs that have ended hears of their ends, however many they are", async () => {
  const { bus, jobs } = fixture;
  const ids = Array.from({ length: 300 }, (_, i) => `ended-${i}`);
  await using publisher = bus.publisher();
  await Promise.all(ids.map((id) => jobs.submitJob({ id, type: "t", priority: Priority.LOW })));
  const fields = { kind: EventKind.SUCCEEDED, run: 1, attempt: 1, queue: "default", type: "t", priority: 4 };
  const batches = ids.map((jobId) => create(EventBatchSchema, { source: "worker", events: [{ ...fields, jobId }] }));
  const subject = eventBatchSubject("worker");
  await publisher.publishMany(batches.map((batch) => ({ subject, data: toBinary(EventBatchSchema, batch) })));
  const refusals = await Promise.all(ids.map((id) => refusal(jobs.cancelJob({ id }))));
  expect(refusals).toEqual(ids.map((id) => ({ code: Code.Aborted, words: `job ${id} has ended: succeeded` })));
}, 60_000);

test("whose end counts is not guessed: what cannot be read in time is unavailable", async () => {
  const { bus, jobs } = fixture;
  await bus.publishDurable("jobs.low.default.t.long-ago", nothing);
  // As when the broker takes too long.
  using _deaf = vi.spyOn(EndsInEvents.prototype, "find").mockResolvedValue(undefined);
  const { code, words } = await refusal(jobs.cancelJob({ id: "long-ago" }));
  expect(code).toBe(Code.Unavailable);
  expect(words).toMatch(/^job long-ago is cancelled, unless it had ended before: which of the two cannot be told yet/);
}, 60_000);

test("a unique key is held while it is not known whether its job is over, however old it is", async () => {
  const { bus, jobs, store } = fixture;
  await jobs.submitJob({ id: "u1", type: "t", uniqueKey: "k" });
  const taken = { code: Code.AlreadyExists, words: 'job u1 has the unique key "k"' };
  expect(await refusal(jobs.submitJob({ id: "u2", type: "t", uniqueKey: "k" }))).toEqual(taken);
  // Who took the key and died before the job was stored; its log has gone on since.
  const { lastSeq: afterSeq } = await bus.streamState("JOBS_NORMAL");
  const lost = { id: "lost", run: 1, atMs: 1, log: "JOBS_NORMAL", afterSeq };
  const key = createHash("sha256").update("l").digest("hex");
  await bus.kv("unique").put(key, Buffer.from(JSON.stringify(lost)));
  await jobs.submitJob({ id: "other", type: "t" });
  const next = () => jobs.submitJob({ id: "u3", type: "t", uniqueKey: "l" });
  expect((await refusal(next())).code).toBe(Code.AlreadyExists);
  await using projector = await startProjector({}, { bus, store, logger });
  void projector;
  await expect
    .poll(
      () =>
        next().then(
          ({ id }) => id,
          () => "",
        ),
      soon,
    )
    .toBe("u3");
  expect(await refusal(jobs.submitJob({ id: "u4", type: "t", uniqueKey: "k" }))).toEqual(taken);
}, 60_000);

test("a replay is accepted, and says that its row follows", async () => {
  const { bus, jobs, store } = fixture;
  await jobs.submitJob({ id: "again", type: "t" });
  {
    await using projector = await startProjector({}, { bus, store, logger });
    void projector;
    await expect.poll(async () => (await store.getJob("again")) !== undefined, soon).toBe(true);
    await jobs.cancelJob({ id: "again" });
    await expect.poll(async () => (await store.getJob("again"))?.job.state, soon).toBe(JobState.CANCELLED);
  }
  const { messages } = await bus.streamState("JOBS_NORMAL");
  const answer = await jobs.retryJob({ id: "again" });
  expect(answer).toMatchObject({ run: 2, attempt: 1, visible: false });
  // Asked for twice, it is one run.
  expect(await jobs.retryJob({ id: "again" })).toMatchObject({ run: 2 });
  expect((await bus.streamState("JOBS_NORMAL")).messages).toBe(messages + 1);
}, 60_000);

test("a repair is the projector's, and says so when there is none", async () => {
  const { bus, store, transport } = fixture;
  const logs = createClient(LogService, transport);
  const { code, words } = await refusal(logs.repairLogs({ dryRun: true }));
  expect([code, words]).toEqual([Code.Unavailable, "no projector answers: it is who repairs"]);
  await using projector = await startProjector({}, { bus, store, logger });
  void projector;
  const answer = () =>
    logs.repairLogs({ dryRun: true }).then(
      ({ jobs, repaired }) => ({ jobs, repaired }),
      () => undefined,
    );
  await expect.poll(answer, soon).toEqual({ jobs: [], repaired: 0n });
}, 60_000);
