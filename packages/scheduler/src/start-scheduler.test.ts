import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { fromBinary } from "@bufbuild/protobuf";
import { EventBatchSchema, EventKind, eventsStream, scheduleStream, scheduleSubject } from "@millrace/protocol";
import { openStore, type Store } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { defaultSchedulerConfig } from "./config.ts";
import { startScheduler } from "./start-scheduler.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const setUpMs = 60_000;

let stack: AsyncDisposableStack;
let nats: TestNats;
let bus: Bus;
let store: Store;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  nats = stack.use(await startTestNats());
  bus = stack.use(await connectBus({ servers: nats.url, name: "test" }));
  await bus.ensureTopology();
  store = stack.use(await openStore({ dataDir: "memory://" }));
  await store.migrate();
}, setUpMs);

afterEach(() => stack.disposeAsync(), setUpMs);

/** Messages of EVENTS as they arrive. */
function follow(filter = "events.>") {
  const seen: Delivery[] = [];
  let wake = Promise.withResolvers<void>();
  const reader = bus.readStream({
    stream: eventsStream,
    filter,
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

function schedule(id: string, runAtMs: number, more: [string, string][] = []) {
  const headers: [string, string][] = [["Millrace-Run-At", String(runAtMs)], ...more];
  return bus.publishDurable(scheduleSubject("normal", "mail", "send", id), text(id), headers);
}

/** Resolves when SCHEDULE is empty: the broker settles acks in its own time. */
async function drained(): Promise<void> {
  while ((await bus.streamState(scheduleStream)).messages > 0) await bus.flush();
}

/** A scheduler, and promises of what it did. */
async function start(to: Store = store) {
  const progress = { stored: 0, published: 0, wake: Promise.withResolvers<void>() };
  const note = (what: "stored" | "published", count: number): void => {
    progress[what] += count;
    progress.wake.resolve();
    progress.wake = Promise.withResolvers();
  };
  const metrics = {
    stored: (count: number) => note("stored", count),
    published: (count: number) => note("published", count),
    refused() {},
  };
  const scheduler = stack.use(await startScheduler({}, { bus, store: to, logger: silent, metrics }));
  return {
    scheduler,
    async stores(count: number): Promise<void> {
      while (progress.stored < count) await progress.wake.promise;
    },
    /** Published, and forgotten in the table. */
    async publishes(count: number): Promise<void> {
      while (progress.published < count) await progress.wake.promise;
    },
  };
}

test("a job is published when its time has come, with its headers, and only then", { timeout: 30_000 }, async () => {
  const jobs = follow();
  const { stores, publishes } = await start();
  const soon = Date.now() + 1500;
  await schedule("later", Date.now() + 3_600_000);
  await schedule("soon", soon, [
    ["Millrace-Attempt", "3"],
    ["X-Own", "kept"],
  ]);
  await stores(2);
  await drained();
  // Two copies of what was scheduled, then the one that ran out.
  const [, , published] = await jobs.reaches(3);
  expect(published?.subject).toBe("events.submitted.normal.mail.send.soon");
  expect(published?.timestampMs).toBeGreaterThanOrEqual(soon);
  expect(published?.timestampMs).toBeLessThan(soon + defaultSchedulerConfig.recheckMs / 2);
  expect(published?.header("X-Own")).toBe("kept");
  expect(published?.header("Millrace-Attempt")).toBe("3");
  expect(published?.header("Nats-Msg-Id")).toBe("soon:3");
  expect(published?.header("Millrace-Run-At")).toBeUndefined();
  await publishes(1);
  expect(await store.cancelSchedule("soon")).toBe(false);
  expect(await store.cancelSchedule("later")).toBe(true);
});

test("one that is due earlier than the next wakes the scheduler", { timeout: 30_000 }, async () => {
  const jobs = follow();
  const { stores } = await start();
  await schedule("far", Date.now() + 3_600_000);
  await stores(1);
  await schedule("now", Date.now() - 1000);
  const messages = await jobs.reaches(3);
  expect(messages[2]?.subject).toBe("events.submitted.normal.mail.send.now");
});

test("a header with a zero byte, which no table keeps, holds up nobody", { timeout: 30_000 }, async () => {
  const { seen, reaches } = follow("events.submitted.>");
  await start();
  await schedule("odd", Date.now(), [["X-Own", "a\0b"]]);
  await schedule("next", Date.now());
  await reaches(2);
  expect(seen.map(({ subject }) => subject.split(".").at(-1)).toSorted()).toEqual(["next", "odd"]);
  expect(seen.find(({ subject }) => subject.endsWith("odd"))?.header("X-Own")).toBe("a\u{fffd}b");
});

test("two schedulers publish each job once", { timeout: 30_000 }, async () => {
  const count = 200;
  const jobs = follow("events.submitted.>");
  await start();
  await start();
  const dueAt = Date.now() + 500;
  await Promise.all(Array.from({ length: count }, (_, i) => schedule(`j${i}`, dueAt)));
  const published = await jobs.reaches(count);
  expect(new Set(published.map((message) => message.subject)).size).toBe(count);
  expect((await bus.streamState("JOBS_NORMAL")).messages).toBe(count);
});

test("what can never run is dead, and leaves its stream", { timeout: 30_000 }, async () => {
  const events = follow();
  await start();
  await bus.publishDurable("schedule.normal.Bad.send.j1", text("bytes"));
  await bus.publishDurable("schedule.normal.mail.send.j2", text("bytes"), [["Millrace-Run-At", "tomorrow"]]);
  const messages = await events.reaches(4);
  const batches = messages.filter((message) => message.subject.startsWith("events.batch."));
  const dead = batches.flatMap((message) => fromBinary(EventBatchSchema, message.data).events);
  expect(dead.map((event) => [event.jobId, event.kind, event.errorCode])).toEqual([
    ["j1", EventKind.DEAD, "POISONED"],
    ["j2", EventKind.DEAD, "POISONED"],
  ]);
  expect(Buffer.from(dead[0]?.payload ?? []).toString()).toBe("bytes");
});

const binaries = findPostgresBinaries();
describe.skipIf(binaries === undefined)("while PostgreSQL is away", () => {
  test("schedules stay in their stream, and are published when it is back", { timeout: 60_000 }, async () => {
    await using server = await startTestPostgres(binaries ?? "");
    await using remote = await openStore({ databaseUrl: server.url });
    const jobs = follow("events.submitted.>");
    const { scheduler, stores } = await start(remote);
    await schedule("before", Date.now() + 1000);
    await stores(1);
    await server.stop();
    await schedule("meanwhile", Date.now());
    expect((await bus.streamState(scheduleStream)).messages).toBe(1);
    await server.start();
    const published = await jobs.reaches(2);
    expect(published.map((message) => message.subject).sort()).toEqual([
      "events.submitted.normal.mail.send.before",
      "events.submitted.normal.mail.send.meanwhile",
    ]);
    await scheduler[Symbol.asyncDispose]();
    await drained();
  });
});
