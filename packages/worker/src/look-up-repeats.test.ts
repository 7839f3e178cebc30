import { headerNames, JobState, jobVersion, queueConsumer, type RowStanding } from "@millrace/protocol";
import { expect, test } from "vitest";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

const rowOf = (id: string, state: JobState): RowStanding => {
  const version = jobVersion({ run: 1, attempt: 1, move: 0, state });
  const placeVersion = jobVersion({ run: 1, attempt: 1, move: 0, state: JobState.QUEUED });
  return { id, state, version, placeVersion, stream: "JOBS_NORMAL", seq: 1 };
};

/** As an operator does it, past Millrace. */
async function deleteConsumer(world: WorkerFixture, queue: string): Promise<void> {
  const subject = `$JS.API.CONSUMER.DELETE.JOBS_NORMAL.${queueConsumer(queue)}`;
  await world.bus.request(subject, new Uint8Array(0), { timeoutMs: 2000 });
}

test("what a consumer that was made anew delivers is looked up: what has ended or moved does not run again", async () => {
  await using world = await WorkerFixture.start();
  const runs: string[] = [];
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    handlers: { t: (job) => void runs.push(job.id) },
  });
  for (const id of ["ended", "moved", "stub", "none"]) await world.submit("normal", "q", "t", id);
  await expect.poll(() => worker.status().settled).toBe(4);
  let questions = 0;
  using _projector = world.answerRows(({ ids, after, waitMs }) => {
    questions++;
    expect(after).toBeUndefined();
    expect(waitMs).toBe(1000);
    const moved = {
      ...rowOf("moved", JobState.QUEUED),
      placeVersion: jobVersion({ run: 1, attempt: 1, move: 1, state: 2 }),
    };
    const rows = [rowOf("ended", JobState.SUCCEEDED), moved, rowOf("stub", JobState.RUNNING)];
    return rows.filter(({ id }) => ids.includes(id));
  });
  await world.bus.flush();
  await deleteConsumer(world, "q");
  await expect.poll(() => worker.status().settled, { timeout: 10_000 }).toBe(8);
  expect(runs).toEqual(["ended", "moved", "stub", "none", "stub", "none"]);
  expect(worker.status()).toMatchObject({ lookedUp: 4, foundOver: 2, lookingUp: 0 });
  // They come together.
  expect(questions).toBe(1);
  // And what came after it was made anew needs no look.
  await world.submit("normal", "q", "t", "new");
  await world.end("new");
  expect(worker.status().lookedUp).toBe(4);
});

test("without an answer within a second, and at once without a projector, a job runs", async () => {
  await using world = await WorkerFixture.start();
  const runsMs: number[] = [];
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    handlers: { t: () => void runsMs.push(performance.now()) },
  });
  await world.submit("normal", "q", "t", "a");
  await expect.poll(() => worker.status().settled).toBe(1);
  await deleteConsumer(world, "q");
  await expect.poll(() => runsMs.length, { timeout: 10_000 }).toBe(2);

  let askedMs = 0;
  using _silent = world.answerRows(() => {
    askedMs = performance.now();
    return undefined;
  });
  await world.bus.flush();
  await deleteConsumer(world, "q");
  await expect.poll(() => runsMs.length, { timeout: 10_000 }).toBe(3);
  const waitedMs = (runsMs[2] ?? 0) - askedMs;
  expect(waitedMs).toBeGreaterThan(900);
  expect(waitedMs).toBeLessThan(2500);
}, 40_000);

test("a redelivery is looked up", async () => {
  await using world = await WorkerFixture.start();
  const options = { queues: ["q"], natsUrl: world.nats.url, drainTimeoutMs: 500, ackWaitMs: 1000 };
  const began = Promise.withResolvers<void>();
  const first = await startWorker({
    ...options,
    handlers: {
      t: () => {
        began.resolve();
        return new Promise<void>(() => undefined);
      },
    },
  });
  await world.submit("normal", "q", "t", "a");
  await began.promise;
  await first[Symbol.asyncDispose]();
  using _projector = world.answerRows(() => [rowOf("a", JobState.CANCELLED)]);
  await world.bus.flush();
  let runs = 0;
  await using second = await startWorker({ ...options, handlers: { t: () => void runs++ } });
  await expect.poll(() => second.status().settled, { timeout: 5000 }).toBe(1);
  expect(runs).toBe(0);
  expect(await world.open("normal", "q")).toBe(0);
});

test("thousands that have ended are passed over quickly behind a busy slot, and what is in hand is not taken twice", async () => {
  await using world = await WorkerFixture.start();
  const gate = Promise.withResolvers<void>();
  let slow = 0;
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    slots: 1,
    reservedSlots: 0,
    handlers: {
      fast: () => undefined,
      slow: () => {
        slow++;
        return gate.promise;
      },
    },
  });
  const data = new Uint8Array(8);
  const publisher = world.bus.publisher();
  await publisher.publishMany(Array.from({ length: 3000 }, (_, i) => ({ subject: `jobs.normal.q.fast.f-${i}`, data })));
  await expect.poll(() => worker.status().settled, { timeout: 20_000 }).toBe(3000);
  using _projector = world.answerRows(({ ids }) =>
    ids.filter((id) => id.startsWith("f-")).map((id) => rowOf(id, JobState.SUCCEEDED)),
  );
  await publisher.publishMany(Array.from({ length: 50 }, (_, i) => ({ subject: `jobs.normal.q.slow.s-${i}`, data })));
  await expect.poll(() => worker.status()).toMatchObject({ running: 1, held: 50 });
  await deleteConsumer(world, "q");
  const beganMs = performance.now();
  await expect.poll(() => worker.status().foundOver, { timeout: 20_000 }).toBe(3000);
  expect(performance.now() - beganMs).toBeLessThan(10_000);
  await expect.poll(() => world.bus.consumerState("JOBS_NORMAL", queueConsumer("q"))).toMatchObject({ pending: 0 });
  expect(worker.status()).toMatchObject({ running: 1, held: 50 });
  gate.resolve();
  await expect.poll(() => world.open("normal", "q"), { timeout: 20_000 }).toBe(0);
  expect(slow).toBe(50);
}, 60_000);

test("a message of an earlier place than one that was heard of is looked up", async () => {
  await using world = await WorkerFixture.start();
  const runs: string[] = [];
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    handlers: { t: (job) => void runs.push(job.text()) },
  });
  using _projector = world.answerRows(() => [rowOf("a", JobState.SUCCEEDED)]);
  await world.bus.flush();
  await world.submit("normal", "q", "t", "a", "repaired", [[headerNames.move, "1"]]);
  await world.end("a");
  await world.submit("normal", "q", "t", "a", "thought lost");
  await world.submit("normal", "q", "t", "b", "new");
  await world.end("b");
  await expect.poll(() => worker.status()).toMatchObject({ settled: 3, lookedUp: 1, foundOver: 1 });
  expect(runs).toEqual(["repaired", "new"]);
});
