import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { startProjector } from "@millrace/projector";
import { defaultTopologyLimits, JobState, jobVersion, scheduleSubject } from "@millrace/protocol";
import { openStore, type Store } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openTestStore, rowWriter, silent, waitingPatch } from "./scheduler-fixture.ts";
import { startScheduler } from "./start-scheduler.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const setUpMs = 60_000;

let stack: AsyncDisposableStack;
let nats: TestNats;
let bus: Bus;
let store: Store;

// Setting a database up takes longer than a test.
beforeAll(async () => {
  store = await openTestStore();
}, setUpMs);
afterAll(() => store[Symbol.asyncDispose](), setUpMs);

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  nats = stack.use(await startTestNats());
  bus = stack.use(await connectBus({ servers: nats.url, name: "test" }));
  await bus.ensureTopology({ limits: { ...defaultTopologyLimits, jobStreamBytes: 1 << 20 } });
  await store.db.deleteFrom("jobs").execute();
}, setUpMs);

afterEach(() => stack.disposeAsync(), setUpMs);

/** Messages of a log as they arrive. */
function follow(stream = "JOBS_NORMAL") {
  const seen: Delivery[] = [];
  let wake = Promise.withResolvers<void>();
  const reader = bus.readStream({
    stream,
    start: "first",
    onBatch: (messages) => {
      seen.push(...messages);
      wake.resolve();
      wake = Promise.withResolvers();
    },
  });
  stack.use(reader);
  return {
    seen,
    async reaches(count: number): Promise<readonly Delivery[]> {
      while (seen.length < count) await wake.promise;
      return seen;
    },
  };
}

/** A scheduler, and a promise of what it did. */
async function start(to: Store = store) {
  const progress = { published: 0, wake: Promise.withResolvers<void>() };
  const metrics = {
    published: (count: number) => {
      progress.published += count;
      progress.wake.resolve();
      progress.wake = Promise.withResolvers();
    },
  };
  const scheduler = stack.use(await startScheduler({}, { bus, store: to, logger: silent, metrics }));
  return {
    scheduler,
    /** Published, and marked in the table. */
    async publishes(count: number): Promise<void> {
      while (progress.published < count) await progress.wake.promise;
    },
  };
}

const idOf = (message: Delivery | undefined): string | undefined => message?.header("Millrace-Id");

test("a job is published when its time has come, as it was sent, and only then", { timeout: 30_000 }, async () => {
  const jobs = follow();
  const write = rowWriter(store);
  const soonMs = Date.now() + 1500;
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  await write(
    waitingPatch("later", Date.now() + 3_600_000),
    waitingPatch("soon", soonMs, {
      run: 2,
      attempt: 3,
      move: 1,
      maxAttempts: 9,
      traceparent,
      submission: {
        payload: text("soon"),
        contentType: "text/plain",
        headers: { "X-Own": "kept", "Millrace-Content-Type": "text/plain", "Millrace-Max-Attempts": "7" },
        tags: [],
        correlationId: "",
        uniqueKey: "",
        owner: "ada",
        replyTo: "_INBOX.answer",
      },
    }),
  );
  const { publishes } = await start();
  const [published] = await jobs.reaches(1);
  expect(published?.subject).toBe("jobs.normal.mail.send.-.ada");
  expect(Object.fromEntries(published?.headers() ?? [])).toEqual({
    "Nats-Msg-Id": "soon:2:3:1",
    "Millrace-Id": "soon",
    "X-Own": "kept",
    "Millrace-Content-Type": "text/plain",
    "Millrace-Run": "2",
    "Millrace-Attempt": "3",
    "Millrace-Move": "1",
    "Millrace-Max-Attempts": "9",
    "Millrace-Reply-To": "_INBOX.answer",
    traceparent,
  });
  expect(new TextDecoder().decode(published?.data)).toBe("soon");
  expect(published?.timestampMs).toBeGreaterThanOrEqual(soonMs);
  expect(published?.timestampMs).toBeLessThan(soonMs + 250);
  await publishes(1);
  expect(await store.getJob("soon")).toMatchObject({
    dueAtMs: 0,
    place: {
      stream: "JOBS_NORMAL",
      seq: 1,
      version: jobVersion({ run: 2, attempt: 3, move: 1, state: JobState.QUEUED }),
    },
    job: { state: JobState.SCHEDULED },
  });
  expect((await store.getJob("later"))?.dueAtMs).toBeGreaterThan(Date.now());
});

test("one that is due earlier than the next is there in time", { timeout: 30_000 }, async () => {
  const jobs = follow();
  const write = rowWriter(store);
  await write(waitingPatch("far", Date.now() + 3_600_000), waitingPatch("now", Date.now()));
  await start();
  // It has looked, and sleeps.
  await jobs.reaches(1);
  await bus.flush();
  // A projector takes its time, and other rows come in between.
  const soonMs = Date.now() + 400;
  await bus.publishDurable(scheduleSubject("normal", "mail", "send", "soon"), text("{}"), [
    ["Millrace-Run-At", String(soonMs)],
  ]);
  await write(waitingPatch("other", Date.now() + 50));
  await jobs.reaches(2);
  await write(waitingPatch("soon", soonMs));
  const [, , published] = await jobs.reaches(3);
  expect(idOf(published)).toBe("soon");
  expect(published?.timestampMs).toBeGreaterThanOrEqual(soonMs);
  expect(published?.timestampMs).toBeLessThan(soonMs + 250);
});

test("a header with a zero byte, which no table keeps, holds up nobody", { timeout: 30_000 }, async () => {
  const { seen, reaches } = follow();
  const submission = { ...waitingPatch("odd", 0).submission!, headers: { "X-Own": "a\0b" } };
  await rowWriter(store)(waitingPatch("odd", 1000, { submission }), waitingPatch("next", 1000));
  await start();
  await reaches(2);
  expect(seen.map(idOf).toSorted()).toEqual(["next", "odd"]);
  expect(seen.find((message) => idOf(message) === "odd")?.header("X-Own")).toBe("a\u{fffd}b");
});

test("two schedulers publish each job once", { timeout: 30_000 }, async () => {
  const count = 1200;
  const jobs = follow();
  const dueMs = Date.now() + 500;
  await start();
  const { publishes } = await start();
  await rowWriter(store)(...Array.from({ length: count }, (_, i) => waitingPatch(`j${i}`, dueMs)));
  const published = await jobs.reaches(count);
  expect(new Set(published.map(idOf)).size).toBe(count);
  await publishes(1);
  expect((await bus.streamState("JOBS_NORMAL")).messages).toBe(count);
});

test("what was published just before a crash is not published again", { timeout: 30_000 }, async () => {
  await rowWriter(store)(waitingPatch("a", 1000));
  const before = await bus.publishDurable("jobs.normal.mail.send", text("{}"), [
    ["Nats-Msg-Id", "a:1:1:0"],
    ["Millrace-Id", "a"],
  ]);
  const { publishes } = await start();
  await publishes(1);
  expect((await bus.streamState("JOBS_NORMAL")).messages).toBe(1);
  expect(await store.getJob("a")).toMatchObject({ dueAtMs: 0, place: { stream: "JOBS_NORMAL", seq: before.seq } });
});

test("a job whose log is full stays due, and holds up nobody", { timeout: 30_000 }, async () => {
  const fill = async (bytes: number): Promise<void> => {
    for (;;) await bus.publishDurable("jobs.low.mail.send", text("x".repeat(bytes)));
  };
  for (const bytes of [64 << 10, 1 << 10, 1]) {
    await expect(fill(bytes)).rejects.toMatchObject({ code: "resource_exhausted" });
  }
  const jobs = follow();
  await rowWriter(store)(waitingPatch("stuck", 1000, { priority: 4 }), waitingPatch("free", 2000));
  const { publishes } = await start();
  await publishes(1);
  expect((await jobs.reaches(1)).map(idOf)).toEqual(["free"]);
  expect((await store.getJob("stuck"))?.dueAtMs).toBeGreaterThan(0);
  expect((await store.getJob("free"))?.dueAtMs).toBe(0);
});

test("from a publish to SCHEDULE to its log, jobs are in time", { timeout: 60_000 }, async () => {
  const jobs = follow();
  stack.use(await startProjector({}, { bus, store, logger: silent }));
  await start();
  const send = async (id: string, inMs: number): Promise<void> => {
    const runAtMs = Date.now() + inMs;
    const headers: [string, string][] = [
      ["Millrace-Run-At", String(runAtMs)],
      ["X-Due", String(runAtMs)],
    ];
    await bus.publishDurable(scheduleSubject("normal", "mail", "send", id), text("{}"), headers);
  };
  // All is warm then; and the rows are there before they are due, on a busy machine too.
  await send("first", 0);
  await jobs.reaches(1);
  const count = 20;
  for (let n = 0; n < count; n++) await send(`j${n}`, 3000 + n * 37);
  const [, ...published] = await jobs.reaches(count + 1);
  const late = published
    .map((message) => message.timestampMs - Number(message.header("X-Due")))
    .toSorted((a, b) => a - b);
  expect(late[0]).toBeGreaterThanOrEqual(0);
  // Most of them: a machine that does other things has pauses of its own.
  expect(late[count / 2]).toBeLessThan(250);
  // The projector reads the log, and moves the state on.
  for (;;) {
    const stored = await store.getJob("j0");
    if (stored?.job.state === JobState.QUEUED) break;
    await bus.flush();
  }
  expect(await store.getJob("j0")).toMatchObject({ dueAtMs: 0, place: { stream: "JOBS_NORMAL" } });
});

const binaries = findPostgresBinaries();
describe.skipIf(binaries === undefined)("while PostgreSQL is away", () => {
  test("jobs wait, and are published when it is back", { timeout: 60_000 }, async () => {
    await using server = await startTestPostgres(binaries ?? "");
    await using remote = await openStore({ databaseUrl: server.url });
    await remote.migrate();
    const jobs = follow();
    await rowWriter(remote)(waitingPatch("meanwhile", Date.now() + 2000), waitingPatch("first", Date.now()));
    const { scheduler, publishes } = await start(remote);
    await publishes(1);
    await server.stop();
    await server.start();
    expect((await jobs.reaches(2)).map(idOf)).toEqual(["first", "meanwhile"]);
    await publishes(2);
    await scheduler[Symbol.asyncDispose]();
  });
});
