import { EventKind, headerNames } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

let world: WorkerFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const options = (queue: string) => ({ queues: [queue], natsUrl: world.nats.url, drainTimeoutMs: 1000 });

test("a job that may not run for long goes on to the scheduler, as the same attempt", async () => {
  await using worker = await startWorker({ ...options("far"), handlers: { t: () => "early" } });
  const runAtMs = Date.now() + 60_000;
  await world.bus.publishDurable("jobs.high.far.t.far-1.user-1", new TextEncoder().encode("in"), [
    [headerNames.runAt, new Date(runAtMs).toISOString()],
    [headerNames.correlationId, "c-1"],
    [headerNames.maxAttempts, "7"],
  ]);
  await expect.poll(() => worker.status().settled).toBe(1);
  const [stored, ...others] = await world.stored("SCHEDULE", "schedule.high.far.*.*.*");
  expect(others).toEqual([]);
  expect(stored?.subject).toBe("schedule.high.far.t.-.user-1");
  expect(new TextDecoder().decode(stored?.data)).toBe("in");
  expect(Object.fromEntries(stored?.headers() ?? [])).toEqual({
    [headerNames.id]: "far-1",
    [headerNames.messageId]: "far-1:1:1:1",
    [headerNames.attempt]: "1",
    [headerNames.move]: "1",
    [headerNames.maxAttempts]: "7",
    [headerNames.runAt]: String(runAtMs),
    [headerNames.correlationId]: "c-1",
  });
  expect(world.events.filter((event) => event.jobId === "far-1")).toEqual([]);
});

test("a job that may run soon waits in the worker, and nothing is published for it", async () => {
  const ranMs: number[] = [];
  await using _worker = await startWorker({
    ...options("soon"),
    handlers: { t: () => void ranMs.push(Date.now()) },
  });
  const runAtMs = Date.now() + 400;
  await world.submit("normal", "soon", "t", "soon-1", "", [[headerNames.runAt, String(runAtMs)]]);
  const { lastSeq } = await world.bus.streamState("JOBS_NORMAL");
  expect(await world.end("soon-1")).toMatchObject({ kind: EventKind.SUCCEEDED, move: 0 });
  expect(ranMs).toHaveLength(1);
  expect(ranMs[0]).toBeGreaterThanOrEqual(runAtMs - 10);
  expect((await world.bus.streamState("JOBS_NORMAL")).lastSeq).toBe(lastSeq);
});

test("a job that waits for its time in a worker that stops is another's", async () => {
  const first = await startWorker({ ...options("handed"), handlers: { t: () => "first" } });
  await world.submit("normal", "handed", "t", "handed-1", "", [[headerNames.runAt, String(Date.now() + 1500)]]);
  await expect.poll(() => first.status().held).toBe(1);
  const beganMs = performance.now();
  await first[Symbol.asyncDispose]();
  expect(performance.now() - beganMs).toBeLessThan(1000);
  await using _second = await startWorker({ ...options("handed"), handlers: { t: () => "second" } });
  expect(new TextDecoder().decode((await world.end("handed-1")).result)).toBe("second");
});

test("a retry keeps id, owner, run and correlation, on a subject that its type shares", async () => {
  await using _worker = await startWorker({
    ...options("retry"),
    handlers: { t: (job) => (job.attempt === 1 ? Promise.reject(new Error("no")) : "yes") },
  });
  await world.bus.publishDurable("jobs.low.retry.t.-.user-1", new Uint8Array(0), [
    [headerNames.id, "retry-1"],
    [headerNames.run, "3"],
    [headerNames.move, "2"],
    [headerNames.correlationId, "c-2"],
    [headerNames.backoff, "fixed;base=5"],
    [headerNames.messageId, "retry-1:3:1:2"],
  ]);
  const about = { jobId: "retry-1", run: 3, owner: "user-1", correlationId: "c-2" };
  expect(await world.end("retry-1")).toMatchObject({ ...about, kind: EventKind.SUCCEEDED, attempt: 2, move: 0 });
  expect(await world.event("retry-1", EventKind.RETRIED)).toMatchObject({ ...about, attempt: 1, move: 2 });
  const [, next] = await world.stored("JOBS_LOW", "jobs.low.retry.>");
  expect(next?.subject).toBe("jobs.low.retry.t.-.user-1");
  expect(next?.header(headerNames.messageId)).toBe("retry-1:3:2:0");
});

test("the retry of a job that a bare publish named by its message id keeps that id", async () => {
  await using _worker = await startWorker({
    ...options("bare"),
    handlers: { t: (job) => (job.attempt === 1 ? Promise.reject(new Error("no")) : "yes") },
  });
  await world.bus.publishDurable("jobs.low.bare.t", new Uint8Array(0), [
    [headerNames.messageId, "bare-1"],
    [headerNames.backoff, "fixed;base=5"],
  ]);
  expect(await world.end("bare-1")).toMatchObject({ kind: EventKind.SUCCEEDED, attempt: 2, owner: "" });
  const [, next] = await world.stored("JOBS_LOW", "jobs.low.bare.>");
  expect(next?.subject).toBe("jobs.low.bare.t");
});

test.each([
  ["short", "JOBS_NORMAL", 1],
  ["long", "SCHEDULE", 60_000],
])("a %s retry is published once it is stored that the attempt failed", async (name, log, delayMs) => {
  await using other = await WorkerFixture.start();
  const failed = Promise.withResolvers<void>();
  await using _worker = await startWorker({
    ...options(name),
    natsUrl: other.nats.url,
    handlers: {
      t: (job) => {
        if (job.attempt > 1) return "well";
        failed.resolve();
        throw new Error("not yet");
      },
    },
  });
  await other.bus.request("$JS.API.STREAM.DELETE.EVENTS", new Uint8Array(0), { timeoutMs: 2000 });
  const backoff: [string, string] = [headerNames.backoff, `fixed;base=${delayMs};jitter=0`];
  await other.submit("normal", name, "t", `${name}-1`, "", [backoff]);
  await failed.promise;
  // Longer than the wait, and than a publish takes.
  await new Promise((resolve) => setTimeout(resolve, 700));
  const before = log === "SCHEDULE" ? 0 : 1;
  expect((await other.bus.streamState(log)).messages).toBe(before);
  expect(await other.open("normal", name)).toBe(1);
  await other.bus.ensureTopology();
  await expect.poll(async () => (await other.bus.streamState(log)).messages, { timeout: 10_000 }).toBe(before + 1);
  await expect.poll(() => other.open("normal", name), { timeout: 10_000 }).toBe(0);
});
