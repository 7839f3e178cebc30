import { EventKind, headerNames, JobState, jobVersion } from "@millrace/protocol";
import { expect, test } from "vitest";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

/** As the projector does it, from the events alone. */
function answerByEvents(world: WorkerFixture): Disposable {
  const place = { run: 1, attempt: 1, move: 0 };
  return world.answerRows(({ ids }) => {
    const asked = new Set(ids);
    const ended = world.events.filter(({ kind, jobId }) => kind === EventKind.SUCCEEDED && asked.has(jobId));
    return ended.map(({ jobId }) => ({
      id: jobId,
      state: JobState.SUCCEEDED,
      version: jobVersion({ ...place, state: JobState.SUCCEEDED }),
      placeVersion: jobVersion({ ...place, state: JobState.QUEUED }),
      stream: "JOBS_NORMAL",
      seq: 1,
    }));
  });
}

test("a broker killed and restarted under load loses nothing that was accepted, and nothing that has ended runs again", async () => {
  await using world = await WorkerFixture.start();
  const runs = new Map<string, number>();
  let afterItsEnd = 0;
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    slots: 8,
    ackWaitMs: 2000,
    handlers: {
      t: (job) => {
        runs.set(job.id, (runs.get(job.id) ?? 0) + 1);
        if (world.events.some((e) => e.jobId === job.id && e.kind === EventKind.SUCCEEDED)) afterItsEnd++;
        return new Promise<void>((resolve) => setTimeout(resolve, 5));
      },
    },
  });
  using _projector = answerByEvents(world);
  const ids = Array.from({ length: 900 }, (_, i) => `job-${i}`);
  const data = new Uint8Array(100);
  await world.bus.publisher().publishMany(ids.map((id) => ({ subject: `jobs.normal.q.t.${id}`, data })));
  const ended = (): number =>
    new Set(world.events.filter((e) => e.kind === EventKind.SUCCEEDED).map((e) => e.jobId)).size;
  for (const least of [100, 400]) {
    await expect.poll(ended, { timeout: 10_000 }).toBeGreaterThan(least);
    await world.nats.kill9();
    await world.nats.restart();
  }
  await expect.poll(ended, { timeout: 25_000 }).toBe(900);
  await expect.poll(() => worker.status().held, { timeout: 5000 }).toBe(0);
  await expect.poll(() => world.open("normal", "q"), { timeout: 10_000 }).toBe(0);
  expect(afterItsEnd).toBe(0);
  // What was in hand at a kill may run twice: no more than the slots held.
  expect([...runs.values()].filter((count) => count > 1).length).toBeLessThanOrEqual(16);
  expect(worker.status().lookedUp).toBeGreaterThan(0);
  expect(worker.health().ok).toBe(true);
}, 60_000);

test("a job that waits for its time over a kill of the broker runs, once", async () => {
  await using world = await WorkerFixture.start();
  let runs = 0;
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    ackWaitMs: 1000,
    handlers: { t: () => void runs++ },
  });
  await world.submit("normal", "q", "t", "job-1", "", [[headerNames.runAt, String(Date.now() + 3000)]]);
  await expect.poll(() => worker.status().held).toBe(1);
  await world.nats.kill9();
  await world.nats.restart();
  expect(await world.end("job-1")).toMatchObject({ kind: EventKind.SUCCEEDED });
  await expect.poll(() => world.open("normal", "q"), { timeout: 10_000 }).toBe(0);
  expect(runs).toBe(1);
}, 30_000);

test("a message of the same attempt is not taken for the one that ended while the broker was away", async () => {
  await using world = await WorkerFixture.start();
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let runs = 0;
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    ackWaitMs: 20_000,
    drainTimeoutMs: 500,
    handlers: { t: () => gates[runs++]?.promise },
  });
  await world.submit("normal", "q", "t", "job-1");
  await expect.poll(() => runs).toBe(1);
  await world.nats.kill9();
  await world.nats.restart();
  // Its ack cannot go to the broker that delivered it.
  gates[0]?.resolve();
  await world.end("job-1");
  await expect.poll(() => worker.status().held).toBe(0);
  await world.submit("normal", "q", "t", "job-1", "", [
    [headerNames.move, "1"],
    [headerNames.messageId, "job-1:1:1:1"],
  ]);
  await expect.poll(() => runs).toBe(2);
  gates[1]?.resolve();
  await expect.poll(() => worker.status().settled).toBe(2);
}, 30_000);

test("a worker that starts after a kill doubts what was stored before it, and nothing that came since", async () => {
  await using world = await WorkerFixture.start();
  using _projector = answerByEvents(world);
  const handlers = { t: () => "ran" };
  const options = { queues: ["q"], natsUrl: world.nats.url, handlers };
  {
    await using first = await startWorker(options);
    await world.submit("normal", "q", "t", "job-1");
    await world.end("job-1");
    expect(first.status().lookedUp).toBe(0);
  }
  await world.submit("normal", "q", "t", "job-2");
  await world.nats.kill9();
  await world.nats.restart();
  await world.bus.whenConnected();
  {
    await using second = await startWorker(options);
    await world.end("job-2");
    expect(second.status().lookedUp).toBe(1);
  }
  await world.submit("normal", "q", "t", "job-3");
  await using third = await startWorker(options);
  await world.end("job-3");
  expect(third.status().lookedUp).toBe(0);
}, 30_000);
