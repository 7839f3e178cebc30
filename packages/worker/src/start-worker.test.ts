import { fromBinary } from "@bufbuild/protobuf";
import { EventKind, headerNames, JobResultSchema, JobState } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Outcome } from "./outcome.ts";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

let world: WorkerFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const decoder = new TextDecoder();
const options = (queue: string) => ({ queues: [queue], natsUrl: world.nats.url, drainTimeoutMs: 3000 });

test("runs a job and settles it: the event is stored, the message acked", async () => {
  await using _worker = await startWorker({
    ...options("run"),
    handlers: { upper: async (job) => job.text().toUpperCase() },
  });
  await world.submit("normal", "run", "upper", "run-1", "hello");
  const event = await world.end("run-1");
  expect(event).toMatchObject({ kind: EventKind.SUCCEEDED, queue: "run", type: "upper", priority: 3, attempt: 1 });
  expect(decoder.decode(event.result)).toBe("HELLO");
  expect(event.submittedAtMs).toBeGreaterThan(0);
  await expect.poll(() => world.open("normal", "run")).toBe(0);
});

test("a bare publish without an id is a complete job", async () => {
  await using worker = await startWorker({ ...options("bare"), handlers: { t: () => ({ ok: true }) } });
  // As `nats pub` does it.
  world.bus.publish("jobs.high.bare.t", new Uint8Array(0));
  await expect.poll(() => worker.status().settled).toBe(1);
  await expect.poll(() => world.events.find((e) => e.queue === "bare")).toBeDefined();
  expect(world.events.find((e) => e.queue === "bare")?.jobId).toMatch(/^_h[0-9a-z]+-[0-9a-z]+$/);
});

test("higher priorities go first", async () => {
  await world.bus.ensureQueueConsumers("order", { ackWaitMs: 30_000 });
  for (let i = 0; i < 10; i++) {
    for (const priority of ["low", "normal", "high", "critical"] as const) {
      await world.submit(priority, "order", "t", `order-${priority}-${i}`);
    }
  }
  const seen: string[] = [];
  await using _worker = await startWorker({
    ...options("order"),
    slots: 1,
    reservedSlots: 0,
    floors: { high: 0, normal: 0, low: 0 },
    handlers: { t: async (job) => void seen.push(job.priority) },
  });
  await Promise.all(Array.from({ length: 10 }, (_, i) => world.end(`order-low-${i}`)));
  // Strict, but for the few that were in hand when a higher one came.
  expect(seen.slice(0, 12).filter((p) => p === "critical").length).toBe(10);
  expect(seen.slice(0, 22).filter((p) => p === "high").length).toBe(10);
  expect(seen.slice(0, 28).filter((p) => p === "low").length).toBe(0);
});

test("a failure is tried again under the same id, then succeeds", async () => {
  await using _worker = await startWorker({
    ...options("retry"),
    handlers: {
      t: async (job) => {
        if (job.attempt < 3) throw new Error(`no ${job.attempt}`);
        return "done";
      },
    },
  });
  await world.submit("normal", "retry", "t", "retry-1", "x", [[headerNames.backoff, "fixed;base=10"]]);
  expect(await world.end("retry-1")).toMatchObject({ kind: EventKind.SUCCEEDED, attempt: 3 });
  const retried = world.events.filter((e) => e.jobId === "retry-1" && e.kind === EventKind.RETRIED);
  expect(retried.map((e) => [e.attempt, e.errorMessage])).toEqual([
    [1, "no 1"],
    [2, "no 2"],
  ]);
});

test("a long retry goes to the schedule", async () => {
  await using _worker = await startWorker({ ...options("later"), handlers: { t: () => Outcome.failed("no") } });
  await world.submit("normal", "later", "t", "later-1", "x", [[headerNames.backoff, "fixed;base=60000;jitter=0"]]);
  const event = await world.event("later-1", EventKind.RETRIED);
  expect(event.nextRunAtMs - event.atMs).toBeGreaterThan(50_000);
  // Acked when the schedule has it.
  await expect.poll(() => world.open("normal", "later")).toBe(0);
  expect((await world.bus.streamState("SCHEDULE")).messages).toBe(1);
});

test("attempts used up, or a failure for good, make a dead letter", async () => {
  await using _worker = await startWorker({
    ...options("dead"),
    handlers: {
      t: () => {
        throw new Error("never");
      },
      once: () => Outcome.failed("wrong input", { retryable: false }),
    },
  });
  await world.submit("normal", "dead", "t", "dead-1", "", [
    [headerNames.maxAttempts, "2"],
    [headerNames.backoff, "fixed;base=5"],
  ]);
  await world.submit("normal", "dead", "once", "dead-2");
  expect(await world.end("dead-1")).toMatchObject({ kind: EventKind.DEAD, attempt: 2, errorCode: "HANDLER_FAILED" });
  expect(await world.end("dead-2")).toMatchObject({ kind: EventKind.DEAD, attempt: 1, errorMessage: "wrong input" });
});

test("a job that is too large for another attempt is dead after the one that failed", async () => {
  const handlers = { t: () => Promise.reject(new Error("not yet")) };
  await using _worker = await startWorker({ ...options("full"), handlers });
  // The headers of a second attempt take more than this.
  const payload = "x".repeat(world.bus.info.maxPayloadBytes - 60);
  await world.submit("normal", "full", "t", "full-1", payload);
  const event = await world.end("full-1");
  expect(event).toMatchObject({ kind: EventKind.DEAD, attempt: 1, errorCode: "HANDLER_FAILED" });
  expect(event.errorMessage).toContain("cannot be tried again");
});

test("a poisoned message is a dead letter with its bytes", async () => {
  await using _worker = await startWorker({ ...options("poison"), handlers: { t: () => "never" } });
  await world.submit("normal", "poison", "t", "poison-1", "keep me", [[headerNames.timeoutMs, "soon"]]);
  const event = await world.end("poison-1");
  expect(event).toMatchObject({ kind: EventKind.DEAD, errorCode: "POISONED" });
  expect(decoder.decode(event.payload)).toBe("keep me");
  expect(event.rawHeaders).toContain("Millrace-Timeout-Ms: soon");
});

test("a subject that cannot name a job makes a dead letter under an id of its place", async () => {
  await using _worker = await startWorker({ ...options("names"), handlers: { t: () => "never" } });
  world.bus.publish("jobs.normal.names.t.a.b.c", new Uint8Array(0));
  const dead = () => world.events.find((e) => e.queue === "names" && e.kind === EventKind.DEAD);
  await expect.poll(dead).toMatchObject({ errorCode: "POISONED", errorMessage: '"a.b.c" is not a job id' });
  expect(dead()?.jobId).toMatch(/^_n[0-9a-z]+-[0-9a-z]+$/);
});

test("a handler that takes too long is broken off by its signal", async () => {
  const aborted = Promise.withResolvers<unknown>();
  await using _worker = await startWorker({
    ...options("slow"),
    handlers: {
      t: (job) =>
        new Promise(() => {
          job.signal.addEventListener("abort", () => aborted.resolve(job.signal.reason));
        }),
    },
  });
  await world.submit("normal", "slow", "t", "slow-1", "", [
    [headerNames.timeoutMs, "30"],
    [headerNames.maxAttempts, "1"],
  ]);
  expect(await world.end("slow-1")).toMatchObject({ kind: EventKind.DEAD, errorCode: "TIMED_OUT" });
  await aborted.promise;
});

test("a job past its deadline expires", async () => {
  await using _worker = await startWorker({ ...options("expire"), handlers: { t: () => "never" } });
  await world.submit("normal", "expire", "t", "expire-1", "", [[headerNames.deadline, String(Date.now() - 1)]]);
  expect(await world.end("expire-1")).toMatchObject({ kind: EventKind.EXPIRED, errorCode: "DEADLINE_EXCEEDED" });
});

test("a waiting caller gets the result", async () => {
  await using _worker = await startWorker({ ...options("wait"), handlers: { t: () => ({ n: 1 }) } });
  const inbox = world.bus.newInbox();
  const answer = Promise.withResolvers<Uint8Array>();
  using _subscription = world.bus.subscribe(inbox, {}, (message) => answer.resolve(message.data.slice()));
  await world.bus.flush();
  await world.submit("critical", "wait", "t", "wait-1", "", [[headerNames.replyTo, inbox]]);
  const result = fromBinary(JobResultSchema, await answer.promise);
  expect(result).toMatchObject({ id: "wait-1", state: JobState.SUCCEEDED, output: { content: { case: "json" } } });
});

test("an unknown type waits, and says why; another worker that knows it runs it", async () => {
  await using _worker = await startWorker({ ...options("park"), handlers: { other: () => "other" } });
  await world.submit("normal", "park", "strange", "park-1");
  const parked = await world.event("park-1", EventKind.PARKED);
  expect(parked.reason).toContain("strange");
  await using _second = await startWorker({ ...options("park"), handlers: { strange: () => "known" } });
  expect(await world.end("park-1")).toMatchObject({ kind: EventKind.SUCCEEDED });
}, 20_000);

test("a paused queue rests until it is resumed", async () => {
  await using worker = await startWorker({ ...options("pause"), handlers: { t: () => "ran" } });
  worker.pause("pause");
  await world.submit("normal", "pause", "t", "pause-1");
  const status = await world.command(worker.id, { command: "status" });
  expect(status).toMatchObject({ paused: ["pause"], settled: 0 });
  worker.resume();
  await world.end("pause-1");
});

test("drain lets running jobs end and takes no new one", async () => {
  const running = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<string>();
  const worker = await startWorker({
    ...options("drain"),
    handlers: {
      t: () => {
        running.resolve();
        return gate.promise;
      },
    },
  });
  await world.submit("normal", "drain", "t", "drain-1");
  await running.promise;
  const drained = worker[Symbol.asyncDispose]();
  await world.submit("normal", "drain", "t", "drain-2");
  gate.resolve("done");
  await drained;
  expect(await world.end("drain-1")).toMatchObject({ kind: EventKind.SUCCEEDED });
  expect(world.events.some((e) => e.jobId === "drain-2")).toBe(false);
  await using _next = await startWorker({ ...options("drain"), handlers: { t: () => "next" } });
  await world.end("drain-2");
});

test("a job that does not end keeps nothing else from being stored in time", async () => {
  const running = Promise.withResolvers<void>();
  const worker = await startWorker({
    ...options("stuck"),
    drainTimeoutMs: 500,
    handlers: {
      forever: (job) => {
        running.resolve();
        return new Promise((resolve) => job.signal.addEventListener("abort", () => resolve("too late")));
      },
      t: () => "in time",
    },
  });
  await world.submit("normal", "stuck", "forever", "stuck-1");
  await running.promise;
  await world.submit("normal", "stuck", "t", "stuck-2");
  await world.end("stuck-2");
  const beganMs = performance.now();
  await worker[Symbol.asyncDispose]();
  expect(performance.now() - beganMs).toBeLessThan(1500);
  await expect.poll(() => world.open("normal", "stuck")).toBe(1);
});

test("a lease is kept for a job that runs longer than it", async () => {
  let runs = 0;
  const gate = Promise.withResolvers<void>();
  await using _worker = await startWorker({
    ...options("lease"),
    ackWaitMs: 1000,
    handlers: {
      t: async () => {
        runs++;
        setTimeout(gate.resolve, 2500);
        await gate.promise;
      },
    },
  });
  await world.submit("normal", "lease", "t", "lease-1");
  await world.end("lease-1");
  expect(runs).toBe(1);
});

test("a thousand small jobs flow through in few batches", async () => {
  await using worker = await startWorker({ ...options("many"), handlers: { t: async () => undefined } });
  const publisher = world.bus.publisher();
  await publisher.publishMany(
    Array.from({ length: 3000 }, (_, i) => ({ subject: `jobs.normal.many.t.many-${i}`, data: new Uint8Array(10) })),
  );
  await expect.poll(() => worker.status().settled, { timeout: 10_000 }).toBe(3000);
  await expect
    .poll(() => world.events.filter((e) => e.queue === "many" && e.kind === EventKind.SUCCEEDED).length)
    .toBe(3000);
});
