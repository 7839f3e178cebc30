import { fromBinary } from "@bufbuild/protobuf";
import {
  encodeCancelMark,
  encodePlaceMark,
  EventKind,
  headerNames,
  JobResultSchema,
  JobState,
  placeMarkKey,
} from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

let world: WorkerFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const encoder = new TextEncoder();
const options = (queue: string) => ({ queues: [queue], natsUrl: world.nats.url, drainTimeoutMs: 1000 });
const mark = (id: string, run = 1) =>
  world.bus.kv("cancel").put(id, encodeCancelMark({ run, reason: "", atMs: Date.now() }));
const broadcast = (text: string) => world.bus.publish("cmd.cancel", encoder.encode(text));
const eventsOf = (id: string) => world.events.filter((event) => event.jobId === id).map(({ kind }) => kind);

test.each(['{"id":"running-1","run":1}', "running-2"])("a running job is ended by the broadcast %s", async (text) => {
  const id = /running-\d/.exec(text)?.[0] ?? "";
  const running = Promise.withResolvers<void>();
  await using worker = await startWorker({
    ...options(id),
    handlers: {
      t: (job) =>
        new Promise((_, reject) => {
          job.signal.addEventListener("abort", () => reject(new Error("told")));
          running.resolve();
        }),
    },
  });
  await world.submit("normal", id, "t", id);
  await running.promise;
  expect(await world.command(worker.id, { command: "holds", ids: [id, "other"] })).toEqual({ holds: [id] });
  broadcast(text);
  expect(await world.end(id)).toMatchObject({ kind: EventKind.CANCELLED, run: 1 });
  await expect.poll(() => world.command(worker.id, { command: "holds", ids: [id] })).toEqual({ holds: [] });
});

test("a marked job that has not begun is acked without an event, and its caller is told", async () => {
  await using worker = await startWorker({ ...options("marked"), handlers: { t: () => "never" } });
  const inbox = world.bus.newInbox();
  const answer = Promise.withResolvers<Uint8Array>();
  using _subscription = world.bus.subscribe(inbox, {}, (message) => answer.resolve(message.data.slice()));
  await world.bus.flush();
  await mark("marked-1");
  await world.submit("normal", "marked", "t", "marked-1", "", [[headerNames.replyTo, inbox]]);
  expect(fromBinary(JobResultSchema, await answer.promise)).toMatchObject({ state: JobState.CANCELLED });
  await expect.poll(() => world.open("normal", "marked")).toBe(0);
  await world.submit("normal", "marked", "t", "marked-2");
  await world.end("marked-2");
  expect(eventsOf("marked-1")).toEqual([]);
  await expect.poll(() => worker.status().held).toBe(0);
  // The mark is not the worker's to take away.
  expect(await world.bus.kv("cancel").get("marked-1")).toBeDefined();
});

test.each([
  { where: "heap", slots: 1, type: "t", runInMs: 0 },
  { where: "parked", slots: 8, type: "unknown", runInMs: 0 },
  { where: "postponed", slots: 8, type: "t", runInMs: 4000 },
])("who asks after the broadcast hears that nobody has the job: $where", async ({ where, slots, type, runInMs }) => {
  const gate = Promise.withResolvers<void>();
  await using worker = await startWorker({
    ...options(where),
    slots,
    reservedSlots: 0,
    handlers: { t: () => gate.promise },
  });
  const [running, id] = [`${where}-1`, `${where}-2`];
  await world.submit("normal", where, "t", running);
  await expect.poll(() => worker.status().running).toBe(1);
  const runAt = runInMs === 0 ? "0" : String(Date.now() + runInMs);
  await world.submit("normal", where, type, id, "", [[headerNames.runAt, runAt]]);
  await expect.poll(() => worker.status().held).toBe(2);
  const ask = () => world.command(worker.id, { command: "holds", ids: [running, id] });
  expect(await ask()).toEqual({ holds: [running, id] });
  broadcast(JSON.stringify({ id, run: 1 }));
  expect(await ask()).toEqual({ holds: [running] });
  gate.resolve();
  await world.end(running);
  expect(eventsOf(id).filter((kind) => kind !== EventKind.PARKED)).toEqual([]);
  await expect.poll(() => world.open("normal", where)).toBe(0);
});

test("a retry that is held is ended", async () => {
  await using worker = await startWorker({
    ...options("held"),
    handlers: { t: () => Promise.reject(new Error("not yet")) },
  });
  await world.submit("normal", "held", "t", "held-1", "", [[headerNames.backoff, "fixed;base=4000;jitter=0"]]);
  await expect.poll(() => worker.status().retrying).toBe(1);
  await mark("held-1");
  expect(await world.end("held-1")).toMatchObject({ kind: EventKind.CANCELLED, attempt: 1 });
  await expect.poll(() => world.open("normal", "held")).toBe(0);
});

test("a mark means its run and earlier ones, with all their attempts, and no later one", async () => {
  await using _worker = await startWorker({ ...options("runs"), handlers: { t: () => "ran" } });
  await mark("runs-1", 2);
  const next = (run: number, attempt: number) =>
    world.submit("normal", "runs", "t", "runs-1", "", [
      [headerNames.run, String(run)],
      [headerNames.attempt, String(attempt)],
      [headerNames.messageId, `runs-1:${run}:${attempt}:0`],
    ]);
  for (const [run, attempt] of [
    [1, 1],
    [2, 3],
    [3, 1],
  ] as const)
    await next(run, attempt);
  expect(await world.end("runs-1")).toMatchObject({ kind: EventKind.SUCCEEDED, run: 3 });
  await expect.poll(() => world.open("normal", "runs")).toBe(0);
  expect(eventsOf("runs-1")).toEqual([EventKind.SUCCEEDED]);
});

test("a barred message is passed over, whether it was pulled or not, and nothing is said of its job", async () => {
  const gate = Promise.withResolvers<void>();
  await using worker = await startWorker({
    ...options("barred"),
    slots: 1,
    reservedSlots: 0,
    handlers: { t: () => gate.promise },
  });
  const submit = (n: number) =>
    world.submit("normal", "barred", "t", "barred-1", "", [[headerNames.messageId, `barred-${n}`]]);
  const bar = async () => {
    const { lastSeq } = await world.bus.streamState("JOBS_NORMAL");
    const place = encodePlaceMark({ id: "barred-1", atMs: Date.now() });
    await world.bus.kv("cancel").put(placeMarkKey("JOBS_NORMAL", lastSeq), place);
  };
  await submit(1);
  await submit(2);
  await expect.poll(() => worker.status().held).toBe(2);
  await bar();
  await expect.poll(() => worker.status().held).toBe(1);
  worker.pause();
  await submit(3);
  await bar();
  gate.resolve();
  worker.resume();
  await expect.poll(() => world.open("normal", "barred")).toBe(0);
  expect(worker.status().settled).toBe(3);
  expect(eventsOf("barred-1").filter((kind) => kind !== EventKind.STARTED)).toEqual([EventKind.SUCCEEDED]);
});

test("a message that is barred while it runs is not tried again", async () => {
  const gate = Promise.withResolvers<void>();
  await using worker = await startWorker({
    ...options("late"),
    handlers: {
      t: async () => {
        await gate.promise;
        throw new Error("again");
      },
      witness: (job) =>
        new Promise((_, reject) => job.signal.addEventListener("abort", () => reject(job.signal.reason))),
    },
  });
  await world.submit("normal", "late", "t", "late-1", "", [[headerNames.backoff, "fixed;base=1;jitter=0"]]);
  const { lastSeq } = await world.bus.streamState("JOBS_NORMAL");
  await world.submit("high", "late", "witness", "late-2");
  await expect.poll(() => worker.status().running).toBe(2);
  const place = encodePlaceMark({ id: "late-1", atMs: Date.now() });
  await world.bus.kv("cancel").put(placeMarkKey("JOBS_NORMAL", lastSeq), place);
  // Marks are heard in order.
  await mark("late-2");
  expect(await world.end("late-2")).toMatchObject({ kind: EventKind.CANCELLED });
  gate.resolve();
  await expect.poll(() => world.open("normal", "late")).toBe(0);
  expect((await world.bus.streamState("JOBS_NORMAL")).lastSeq).toBe(lastSeq);
});
