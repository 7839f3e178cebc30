import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  deriveJobId,
  eventBatchSubject,
  EventBatchSchema,
  EventKind,
  eventsStream,
  JobState,
  type JobEventSchema,
} from "@millrace/protocol";
import { openStore, type Store } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { createMetrics } from "@millrace/service-kit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openTestStore, ProjectorFixture, silent, text, type TestStore } from "./projector-fixture.ts";
import { projectorMetrics } from "./projector-metrics.ts";
import { startProjector, type Projector } from "./start-projector.ts";
import { noProjectorMetrics } from "./projector-signals.ts";

const setUpMs = 60_000;

let opened: TestStore;
let fixture: ProjectorFixture;
let bus: Bus;
let store: Store;

beforeAll(async () => {
  opened = await openTestStore();
  ({ store } = opened);
}, setUpMs);
afterAll(() => opened[Symbol.asyncDispose](), setUpMs);
beforeEach(async () => {
  fixture = await ProjectorFixture.start(store);
  ({ bus } = fixture);
}, setUpMs);
afterEach(() => fixture[Symbol.asyncDispose](), setUpMs);

function project(name = "jobs", to: Store = store): Promise<Projector> {
  return startProjector({ name, rowsPerWrite: 50 }, { bus, store: to, logger: silent });
}

function catchUp(projector: Projector): Promise<void> {
  return fixture.catchUp(projector);
}

function publishBatch(source: string, events: MessageInitShape<typeof JobEventSchema>[]) {
  const full = events.map((event) => ({
    attempt: 1,
    queue: "mail",
    type: "send",
    priority: 2,
    atMs: Date.now(),
    ...event,
  }));
  const batch = create(EventBatchSchema, { source, events: full });
  return bus.publishDurable(eventBatchSubject(source), toBinary(EventBatchSchema, batch));
}

test("a bare publish, then the worker's events, become one row", { timeout: 30_000 }, async () => {
  await using projector = await project();
  await bus.publishDurable("jobs.high.mail.send.j1", text('{"to":"a@b.c"}'), [
    ["Millrace-Tags", "red,blue"],
    ["Millrace-Max-Attempts", "7"],
    ["X-Own", "kept"],
  ]);
  await catchUp(projector);
  const queued = await store.getJob("j1");
  expect(queued?.job).toMatchObject({
    queue: "mail",
    type: "send",
    priority: 2,
    maxAttempts: 7,
    tags: ["red", "blue"],
  });
  expect(queued?.job.state).toBe(JobState.QUEUED);
  expect(queued?.headers).toEqual({ "Millrace-Tags": "red,blue", "Millrace-Max-Attempts": "7", "X-Own": "kept" });
  expect(queued?.place).toMatchObject({ stream: "JOBS_HIGH", seq: 1 });
  await publishBatch("w1", [
    { jobId: "j1", kind: EventKind.STARTED, startedAtMs: Date.now() },
    { jobId: "j1", kind: EventKind.SUCCEEDED, startedAtMs: Date.now(), runUs: 12, result: text('"ok"') },
  ]);
  await catchUp(projector);
  const ended = (await store.getJob("j1"))?.job;
  expect(ended?.state).toBe(JobState.SUCCEEDED);
  expect(ended?.worker).toBe("w1");
  expect(projector.status()).toMatchObject({ ready: true, lagMessages: 0 });
});

test("a job without an id gets the one that a worker derives", { timeout: 30_000 }, async () => {
  await using projector = await project();
  // As from a bare client: without a message id.
  bus.publish("jobs.low.mail.send", text("hello"));
  await expect.poll(async () => (await bus.streamState("JOBS_LOW")).lastSeq, { timeout: 5000 }).toBe(1);
  await catchUp(projector);
  const timestampMs = (await bus.messageAt("JOBS_LOW", 1))?.timestampMs ?? 0;
  const id = deriveJobId({ stream: "JOBS_LOW", seq: 1, timestampMs });
  expect((await store.getJob(id))?.job.payload?.content).toEqual({ case: "text", value: "hello" });
});

test("what can never run is dead with its reason and its bytes", { timeout: 30_000 }, async () => {
  await using projector = await project();
  await bus.publishDurable("jobs.normal.Bad-Queue.send.j1", text("bytes"), [["X-A", "b"]]);
  await bus.publishDurable("jobs.normal.mail.send.j2", text("more"), [["Millrace-Max-Attempts", "many"]]);
  await bus.publishDurable("jobs.normal.mail.send.j3.too.deep", text("deep"));
  await bus.publishDurable("jobs.normal.mail.send.fine", text("fine"));
  await catchUp(projector);
  await catchUp(projector);
  const bad = await store.getJob("j1");
  expect(bad?.job.state).toBe(JobState.DEAD);
  expect(bad?.job.error).toMatchObject({ code: "POISONED", message: expect.stringContaining("Bad-Queue") });
  expect(Buffer.from(bad?.payload ?? []).toString()).toBe("bytes");
  expect(bad?.rawHeaders).toContain("X-A: b");
  expect((await store.getJob("j2"))?.job.error?.message).toContain("Millrace-Max-Attempts");
  expect((await store.getJob("fine"))?.job.state).toBe(JobState.QUEUED);
  expect((await store.listJobs({ states: [JobState.DEAD] }, { size: 10, token: "" })).jobs).toHaveLength(3);
});

test("what can never run ends, though its message is as large as one can be", { timeout: 30_000 }, async () => {
  await fixture.ensureTopology(16 << 20);
  await using projector = await project();
  const { maxPayloadBytes } = bus.info;
  const headers: [string, string][] = [["Millrace-Timeout-Ms", "soon"]];
  const payload = new Uint8Array(maxPayloadBytes - 100);
  await bus.publishDurable("jobs.normal.mail.send.big", payload, headers);
  await catchUp(projector);
  await catchUp(projector);
  const big = await store.getJob("big");
  expect(big?.job).toMatchObject({ state: JobState.DEAD, error: { code: "POISONED" } });
  expect(big?.payload).toHaveLength(payload.length);
});

test("a batch that does not decode is skipped, and what follows is projected", { timeout: 30_000 }, async () => {
  let skipped = 0;
  const metrics = { ...noProjectorMetrics, skipped: () => void skipped++ };
  await using projector = await startProjector({}, { bus, store, logger: silent, metrics });
  await bus.publishDurable(eventBatchSubject("w1"), text("\xff\xff\xff no protobuf"));
  await bus.publishDurable("events.other", text("?"));
  await publishBatch("w1", [{ jobId: "j1", kind: EventKind.STARTED }]);
  await catchUp(projector);
  expect(skipped).toBe(2);
  expect((await store.getJob("j1"))?.job.state).toBe(JobState.RUNNING);
});

test("a row that the database can never take is skipped, and one that it cannot take now waits", async () => {
  const skipped: unknown[] = [];
  const logger = { ...silent, error: (fields: object) => skipped.push(fields) };
  await using projector = await startProjector({}, { bus, store, logger });
  // No timestamp reaches so far.
  await publishBatch("w1", [
    { jobId: "j1", kind: EventKind.STARTED },
    { jobId: "never", kind: EventKind.STARTED, atMs: 1e17 },
    { jobId: "j2", kind: EventKind.STARTED },
  ]);
  await catchUp(projector);
  expect(skipped).toMatchObject([{ job: "never" }]);
  expect((await store.getJob("j2"))?.job.state).toBe(JobState.RUNNING);
  // As while somebody changes the table, or has taken away a right.
  await store.db.schema.alterTable("jobs").renameTo("elsewhere").execute();
  await publishBatch("w1", [{ jobId: "j1", kind: EventKind.SUCCEEDED }]);
  await expect.poll(() => projector.status().ready, { timeout: 10_000 }).toBe(false);
  await store.db.schema.alterTable("elsewhere").renameTo("jobs").execute();
  await catchUp(projector);
  expect((await store.getJob("j1"))?.job.state).toBe(JobState.SUCCEEDED);
  expect(skipped).toHaveLength(1);
});

test("each trouble is told once, also when there was another before, and counted", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    const told: object[] = [];
    const metrics = createMetrics();
    const logger = { ...silent, warn: (fields: object) => told.push(fields) };
    await using projector = await startProjector({}, { bus, store, logger, metrics: projectorMetrics(metrics) });
    for (let troubles = 1; troubles <= 2; troubles++) {
      await publishBatch("w1", [{ jobId: `j${troubles}`, kind: EventKind.STARTED }]);
      await catchUp(projector);
      // As after hours.
      vi.advanceTimersByTime(3_600_000);
      await store.db.schema.alterTable("jobs").renameTo("elsewhere").execute();
      await publishBatch("w1", [{ jobId: `j${troubles}`, kind: EventKind.SUCCEEDED }]);
      await expect.poll(() => projector.status().ready, { timeout: 10_000 }).toBe(false);
      await store.db.schema.alterTable("elsewhere").renameTo("jobs").execute();
      await catchUp(projector);
      expect(told).toHaveLength(troubles);
    }
    const { text: exposed } = await metrics.expose();
    const failures = Number(/^millrace_projection_write_failures_total (\d+)$/m.exec(exposed)?.[1]);
    expect(failures).toBeGreaterThanOrEqual(2);
    await publishBatch("w1", [{ jobId: "never", kind: EventKind.STARTED, atMs: 1e17 }]);
    await catchUp(projector);
    expect((await metrics.expose()).text).toContain("millrace_projection_skipped_total 1\n");
  } finally {
    vi.useRealTimers();
  }
});

test("reading everything again changes nothing", { timeout: 30_000 }, async () => {
  for (let i = 0; i < 120; i++) await bus.publishDurable(`jobs.normal.mail.send.j${i}`, text(`${i}`));
  await publishBatch(
    "w1",
    Array.from({ length: 120 }, (_, i) => ({
      jobId: `j${i}`,
      kind: i % 2 === 0 ? EventKind.SUCCEEDED : EventKind.DEAD,
      ...(i % 2 === 0 ? {} : { errorCode: "TRAPPED", errorMessage: "unreachable" }),
    })),
  );
  const snapshot = async () => [await store.listJobs({}, { size: 500, token: "" }), await store.listQueues()];
  let first: unknown;
  {
    await using projector = await project("first");
    await catchUp(projector);
    first = await snapshot();
  }
  await using projector = await project("second");
  await catchUp(projector);
  expect(await snapshot()).toEqual(first);
  expect(await store.getQueueStats("mail")).toMatchObject({ succeeded: 60n, dead: 60n, queued: 0n });
});

test("of two projectors of one name one leads, and the other takes over", { timeout: 30_000 }, async () => {
  const publish = (from: number): Promise<unknown> =>
    Promise.all(
      [from, from + 1, from + 2].map((round) =>
        publishBatch("w1", [
          { jobId: `j${round}`, kind: EventKind.STARTED },
          { jobId: `j${round}`, kind: EventKind.SUCCEEDED },
        ]),
      ),
    );
  await using left = await project();
  await expect.poll(() => left.status(), { timeout: 20_000 }).toMatchObject({ ready: true, role: "leading" });
  await using right = await project();
  await publish(0);
  await catchUp(left);
  await expect.poll(() => right.status(), { timeout: 20_000 }).toMatchObject({ ready: true, role: "standing by" });
  await left[Symbol.asyncDispose]();
  await publish(3);
  await catchUp(right);
  expect(right.status()).toMatchObject({ ready: true, role: "leading" });
  expect(await store.getQueueStats("mail")).toMatchObject({ succeeded: 6n, running: 0n });
});

test("a stream made anew is read from its start", { timeout: 30_000 }, async () => {
  await publishBatch("w1", [{ jobId: "old", kind: EventKind.STARTED }]);
  {
    await using projector = await project();
    await catchUp(projector);
  }
  await bus.request(`$JS.API.STREAM.DELETE.${eventsStream}`, new Uint8Array(0), { timeoutMs: 5000 });
  await fixture.ensureTopology();
  await publishBatch("w1", [{ jobId: "new", kind: EventKind.STARTED }]);
  await using projector = await project();
  await catchUp(projector);
  expect((await store.getJob("new"))?.job.state).toBe(JobState.RUNNING);
  expect((await store.getJob("old"))?.job.state).toBe(JobState.RUNNING);
});

const binaries = findPostgresBinaries();
describe.skipIf(binaries === undefined)("while PostgreSQL is away", () => {
  test("events wait, and all of them are projected when it is back", { timeout: 60_000 }, async () => {
    await using server = await startTestPostgres(binaries ?? "");
    await using remote = await openStore({ databaseUrl: server.url });
    const lost = Promise.withResolvers<void>();
    const metrics = { ...noProjectorMetrics, writeFailed: () => lost.resolve() };
    const deps = { bus, store: remote, logger: silent, metrics };
    await using projector = await startProjector({ rowsPerWrite: 20 }, deps);
    await bus.publishDurable("jobs.normal.mail.send.first", text("x"));
    await catchUp(projector);
    await server.stop();
    for (let i = 0; i < 100; i++) await bus.publishDurable(`jobs.normal.mail.send.j${i}`, text("x"));
    await lost.promise;
    expect(projector.status().ready).toBe(false);
    await server.start();
    await catchUp(projector);
    expect(await remote.getQueueStats("mail")).toMatchObject({ queued: 101n });
    expect(projector.status()).toMatchObject({ ready: true, reason: "" });
  });
});
