import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectBus } from "@millrace/bus";
import { TestNats } from "@millrace/bus/testing";
import { EventKind, jobStream, priorityNames, queueConsumer } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JobContext } from "./job-context.ts";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

let world: WorkerFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const handlers = { t: () => "ran" };
const queuesOf = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}-${i}`);
const optionsOf = (queues: readonly string[]) => ({ queues, natsUrl: world.nats.url, handlers, drainTimeoutMs: 1000 });
/** As `<log>.<consumer>`. */
async function consumersOf(name: string): Promise<string[]> {
  const lists = priorityNames.map(jobStream).map(async (log) => {
    const consumers = await world.bus.listConsumers(log);
    return consumers.filter((consumer) => consumer.name.startsWith(`w_${name}-`)).map((one) => `${log}.${one.name}`);
  });
  return (await Promise.all(lists)).flat();
}

test("of very many queues, those get consumers that something comes for, at the priorities at which it comes", async () => {
  await using worker = await startWorker(optionsOf(queuesOf("many", 250)));
  expect(worker.status().asleep).toBe(250);
  expect(await consumersOf("many")).toEqual([]);
  await world.submit("normal", "many-7", "t", "many-1");
  await world.submit("low", "many-200", "t", "many-2");
  expect(await world.end("many-1")).toMatchObject({ kind: EventKind.SUCCEEDED, queue: "many-7" });
  await world.end("many-2");
  expect(worker.status().asleep).toBe(248);
  expect(await consumersOf("many")).toEqual(["JOBS_NORMAL.w_many-7", "JOBS_LOW.w_many-200"]);
  await world.submit("critical", "many-7", "t", "many-3");
  await world.end("many-3");
  expect(worker.status()).toMatchObject({ asleep: 248, lookedUp: 0 });
  expect((await consumersOf("many"))[0]).toBe("JOBS_CRITICAL.w_many-7");
});

test("what came before the worker runs, whether its queue has had consumers or not", async () => {
  await world.bus.ensureQueueConsumers("early-1", { ackWaitMs: 30_000 });
  await world.submit("normal", "early-0", "t", "early-a");
  await world.submit("high", "early-1", "t", "early-b");
  await using worker = await startWorker({ ...optionsOf(queuesOf("early", 10)), mostAwakeQueues: 5 });
  await world.end("early-a");
  await world.end("early-b");
  expect(worker.status().asleep).toBe(8);
});

test("a queue that nothing comes for goes to sleep, without its consumers if they go, and wakes again", async () => {
  const queues = queuesOf("idle", 10);
  await using worker = await startWorker({ ...optionsOf(queues), mostAwakeQueues: 5, queueIdleMs: 300 });
  await world.submit("normal", "idle-0", "t", "idle-a");
  await world.end("idle-a");
  expect(worker.status().asleep).toBe(9);
  await expect.poll(() => worker.status().asleep, { timeout: 5000 }).toBe(10);
  // As the projector may do it.
  const subject = `$JS.API.CONSUMER.DELETE.JOBS_NORMAL.${queueConsumer("idle-0")}`;
  await world.bus.request(subject, new Uint8Array(0), { timeoutMs: 2000 });
  await world.submit("normal", "idle-0", "t", "idle-b");
  await world.end("idle-b");
  // Its predecessor is delivered again, and looked up: nobody answers here.
  await expect.poll(() => worker.status().lookedUp).toBe(2);
});

test("what comes for a queue whose consumers were deleted as nothing came needs no look", async () => {
  await using worker = await startWorker({ ...optionsOf(queuesOf("gone", 10)), mostAwakeQueues: 5, queueIdleMs: 300 });
  await world.submit("normal", "gone-0", "t", "gone-a");
  await world.end("gone-a");
  await expect.poll(() => worker.status().asleep, { timeout: 5000 }).toBe(10);
  // As the projector does it, once the last pull is over.
  const { lastSeq } = await world.bus.streamState("JOBS_NORMAL");
  const entry = { start: { JOBS_NORMAL: lastSeq + 1 }, anew: { JOBS_NORMAL: lastSeq } };
  await world.bus.kv("consumers").put("gone-0", new TextEncoder().encode(JSON.stringify(entry)));
  const subject = `$JS.API.CONSUMER.DELETE.JOBS_NORMAL.${queueConsumer("gone-0")}`;
  await world.bus.request(subject, new Uint8Array(0), { timeoutMs: 2000 });
  await world.submit("normal", "gone-0", "t", "gone-b");
  await world.end("gone-b");
  expect(worker.status()).toMatchObject({ lookedUp: 0 });
});

test("what comes while a queue that sleeps cannot be heard is found when the connection is back", async () => {
  await using other = await WorkerFixture.start();
  await using worker = await startWorker({
    ...optionsOf(queuesOf("cut", 10)),
    natsUrl: other.nats.url,
    mostAwakeQueues: 5,
  });
  expect(worker.status().asleep).toBe(10);
  await other.nats.kill9();
  await other.nats.restart();
  // In time or before the worker is back: either way it runs.
  await other.bus.whenConnected();
  for (const n of [0, 1, 2]) await other.submit("normal", `cut-${n}`, "t", `cut-${n}`);
  for (const n of [0, 1, 2]) await other.end(`cut-${n}`);
}, 30_000);

test("what comes for a queue that sleeps is found also where it cannot be heard", async ({ skip }) => {
  await using stack = new AsyncDisposableStack();
  const folder = stack.adopt(await mkdtemp(join(tmpdir(), "millrace-deaf-")), (path) => rm(path, { recursive: true }));
  const users = join(folder, "users.conf");
  const deaf = '{ user: deaf, password: d, permissions: { subscribe: { deny: "jobs.>" } } }';
  await writeFile(users, `authorization { users: [{ user: all, password: a }, ${deaf}] }\n`);
  const nats = stack.use(await TestNats.start({ include: [users] }));
  const busOf = async (user: string, password: string) =>
    stack.use(await connectBus({ servers: nats.url, name: user, user, password }));
  const bus = await busOf("all", "a");
  // Where to look costs much, only a new connection makes it.
  if (!bus.info.features.metadata) skip();
  await bus.ensureTopology();
  const ran = Promise.withResolvers<string>();
  const options = { handlers: { t: (job: JobContext) => ran.resolve(job.id) }, drainTimeoutMs: 1000 };
  await using _worker = await startWorker({
    ...options,
    bus: await busOf("deaf", "d"),
    queues: queuesOf("deaf", 10),
    mostAwakeQueues: 5,
    queueIdleMs: 1000,
  });
  await bus.publishDurable("jobs.normal.deaf-3.t.unheard", new Uint8Array(0));
  expect(await ran.promise).toBe("unheard");
}, 30_000);
