/** A broker that hangs answers nothing and keeps its connections: what is stopped meanwhile does not wait for it. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { buckets, eventsStream } from "@millrace/protocol";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { LeaderLease } from "./leader-lease.ts";
import { startTestNats, type TestNats } from "./testing.ts";

/** On a busy machine, beyond the bound itself. */
const slackMs = 1500;
let nats: TestNats;

beforeAll(async () => {
  nats = await startTestNats();
}, 60_000);
beforeEach(() => nats.thaw());
afterAll(() => nats[Symbol.asyncDispose](), 60_000);

async function connect(): Promise<Bus> {
  const bus = await connectBus({ servers: nats.url, name: "stops" });
  await bus.ensureTopology();
  return bus;
}

async function stopMs(what: AsyncDisposable): Promise<number> {
  const startedAt = performance.now();
  await what[Symbol.asyncDispose]();
  return performance.now() - startedAt;
}

it("a reader stops within 1 s, also one that has no consumer yet", { timeout: 60_000 }, async () => {
  const bus = await connect();
  const watch = bus.kv("queues").watch({ onEntry: () => undefined });
  await watch.ready;
  nats.freeze();
  const begun = bus.readEvents({ startSeq: 1, onBatch: () => undefined });
  // It has asked by then.
  await nextTurn();
  expect(await stopMs(begun)).toBeLessThan(slackMs);
  expect(await stopMs(watch)).toBeLessThan(1000 + slackMs);
  await bus[Symbol.asyncDispose]();
});

it("a reader that stops while its consumer is made tells of nothing more, and leaves none", async () => {
  await using bus = await connect();
  const told: string[] = [];
  nats.freeze();
  const reader = bus.readStream({
    stream: eventsStream,
    start: { seq: 1_000_000 },
    onBatch: () => void told.push("batch"),
    onReset: () => void told.push("reset"),
  });
  // It has asked by then.
  await nextTurn();
  const stopping = stopMs(reader);
  nats.thaw();
  await stopping;
  // Answered in the order in which they were asked.
  await bus.streamState(eventsStream);
  await bus.flush();
  expect(told).toEqual([]);
  expect(await bus.listConsumers(eventsStream)).toEqual([]);
});

it("a lease is given up within 2 s", { timeout: 60_000 }, async () => {
  const bus = await connect();
  const lease = await LeaderLease.acquire(bus, "stops", "one", new AbortController().signal);
  if (lease === undefined) throw new Error("nobody else leads");
  nats.freeze();
  expect(await stopMs(lease)).toBeLessThan(2000 + slackMs);
  await bus[Symbol.asyncDispose]();
});

it("a bus closes within 5 s, and who waits for an answer hears that there is none", { timeout: 60_000 }, async () => {
  const bus = await connect();
  bus.kv("queues").watch({ onEntry: () => undefined });
  nats.freeze();
  const published = bus.publishDurable(`$KV.${buckets.queues.name}.a`, new Uint8Array(1));
  const asked = bus.streamState(eventsStream);
  const heard = Promise.allSettled([published, asked]);
  expect(await stopMs(bus)).toBeLessThan(5000 + slackMs);
  for (const one of await heard) expect(one).toMatchObject({ status: "rejected", reason: { code: "unavailable" } });
});

it("a bus closes though one of its readers never ends", { timeout: 60_000 }, async () => {
  const bus = await connect();
  await bus.kv("queues").put("b", new Uint8Array(1));
  const given = Promise.withResolvers<void>();
  const never = Promise.withResolvers<void>();
  bus.readStream({
    stream: `KV_${buckets.queues.name}`,
    start: "first",
    onBatch: () => {
      given.resolve();
      return never.promise;
    },
  });
  await given.promise;
  expect(await stopMs(bus)).toBeLessThan(3000 + slackMs);
  never.resolve();
});
