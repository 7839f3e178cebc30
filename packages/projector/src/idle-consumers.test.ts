import { jobStream, priorityNames, queueConsumer } from "@millrace/protocol";
import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { IdleConsumers } from "./idle-consumers.ts";
import { silent } from "./projector-fixture.ts";

const log = "JOBS_NORMAL";
const options = { ackWaitMs: 30_000 };
const stack = new AsyncDisposableStack();
let bus: Bus;

beforeAll(async () => {
  const nats = stack.use(await startTestNats());
  bus = stack.use(await connectBus({ servers: nats.url, name: "test" }));
  await bus.ensureTopology();
}, 60_000);
afterAll(() => stack.disposeAsync());

async function pull(queue: string, count: number): Promise<Delivery[]> {
  const got: Delivery[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const handlers = { onMessage: (message: Delivery) => void got.push(message), onEnd: () => resolve() };
  bus.pull(log, queueConsumer(queue), { batch: count, expiresMs: 1000 }, handlers);
  await promise;
  return got;
}

const submit = (queue: string): Promise<{ seq: number }> =>
  bus.publishDurable(`jobs.normal.${queue}.t`, new Uint8Array(1));
const has = async (queue: string): Promise<boolean> =>
  (await bus.listConsumers(log)).some(({ name }) => name === queueConsumer(queue));

test("a queue that nothing comes for loses its consumers, and goes on where it was", async () => {
  for (const queue of ["idle", "waiting", "busy"]) await bus.ensureQueueConsumers(queue, options);
  await submit("idle");
  for (const { reply } of await pull("idle", 1)) bus.ack(reply);
  const waits = await submit("waiting");
  await bus.flush();
  const idle = new IdleConsumers(bus, silent, 0);
  // The first look only remembers.
  expect(await idle.look(0)).toBe(0);
  await submit("busy");
  for (const { reply } of await pull("busy", 1)) bus.ack(reply);
  await bus.flush();
  expect(await idle.look(0)).toBe(1);
  expect([await has("idle"), await has("waiting"), await has("busy")]).toEqual([false, true, true]);

  const { seq } = await submit("idle");
  const made = await bus.ensureQueueConsumers("idle", options);
  // What came since was delivered by nobody: it needs no look.
  expect(made.every(({ anewSeq }) => anewSeq < seq)).toBe(true);
  expect((await pull("idle", 5)).map((message) => message.seq)).toEqual([seq]);
  expect((await pull("waiting", 5)).map((message) => message.seq)).toEqual([waits.seq]);
});

test("few queues keep theirs", async () => {
  await bus.ensureQueueConsumers("kept", options);
  const idle = new IdleConsumers(bus, silent, 0);
  await idle.look();
  expect(await idle.look()).toBe(0);
  expect(await has("kept")).toBe(true);
});

test("one that something waits for stays, whoever asks", async () => {
  await bus.ensureQueueConsumers("late", options);
  await submit("late");
  expect(await bus.upkeep.retireConsumers("late", priorityNames.map(jobStream))).toBe(false);
  expect(await has("late")).toBe(true);
});
