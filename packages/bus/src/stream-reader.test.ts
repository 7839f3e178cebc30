import { eventsStream } from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { startTestNats, type TestNats } from "./testing.ts";

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
});

afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

async function publish(from: number, to: number): Promise<void> {
  await using publisher = bus.publisher();
  function* messages() {
    for (let i = from; i < to; i++) yield { subject: "events.batch.test", data: new TextEncoder().encode(String(i)) };
  }
  expect(await publisher.publishMany(messages())).toEqual({ stored: to - from, failed: 0 });
}

/** Collects what a reader gives, and resolves `reached(n)` when it has so many. */
class Collector {
  readonly seqs: number[] = [];
  #waiting: { count: number; resolve: () => void }[] = [];

  add(seqs: number[]): void {
    this.seqs.push(...seqs);
    for (const waiter of this.#waiting) if (this.seqs.length >= waiter.count) waiter.resolve();
  }

  reached(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ count, resolve });
      this.add([]);
    });
  }
}

it("gives each message once and in order, in bounded batches, across a kill -9 of the broker", async () => {
  await publish(0, 3000);
  const got = new Collector();
  const sizes: number[] = [];
  const caughtUp = Promise.withResolvers<void>();
  let running = 0;
  await using _ = bus.readEvents({
    startSeq: 1,
    batch: 200,
    onBatch: async (messages) => {
      expect(++running).toBe(1);
      sizes.push(messages.length);
      await new Promise((resolve) => setImmediate(resolve));
      got.add(messages.map((message) => message.seq));
      running--;
    },
    onCaughtUp: caughtUp.resolve,
  });
  await caughtUp.promise;
  expect(got.seqs.length).toBe(3000);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(200);
  await nats.kill9();
  await nats.restart();
  await publish(3000, 4000);
  await got.reached(4000);
  expect(got.seqs).toEqual(Array.from({ length: got.seqs.length }, (_unused, i) => i + 1));
});

it("begins at a sequence, and tells of what had gone before", async () => {
  const { lastSeq } = await bus.streamState(eventsStream);
  for (let seq = 1; seq <= 10; seq++) await bus.upkeep.deleteMessage(eventsStream, seq);
  const gap = Promise.withResolvers<[number, number]>();
  const got = new Collector();
  await using _ = bus.readEvents({
    startSeq: 5,
    onBatch: (messages) => got.add(messages.map((message) => message.seq)),
    onGap: (from, to) => gap.resolve([from, to]),
  });
  expect(await gap.promise).toEqual([5, 10]);
  await got.reached(lastSeq - 10);
  expect(got.seqs[0]).toBe(11);
});

it("starts over when the stream ends before its place", async () => {
  const reset = Promise.withResolvers<void>();
  const got = new Collector();
  await using _ = bus.readEvents({
    startSeq: 1_000_000,
    onBatch: (messages) => got.add(messages.map((message) => message.seq)),
    onReset: reset.resolve,
  });
  await reset.promise;
  await got.reached(1);
  expect(got.seqs[0]).toBe(11);
});

it("hands an error of its reader to done", async () => {
  const reader = bus.readEvents({
    startSeq: 11,
    onBatch: () => {
      throw new Error("refused");
    },
  });
  await expect(reader.done).rejects.toThrow("refused");
  await reader[Symbol.asyncDispose]();
});

it("tells when a stream comes near its bound", async () => {
  const near = Promise.withResolvers<boolean>();
  await using _ = bus.watchFill({ stream: eventsStream, everyMs: 20, near: 1e-6, clear: 1e-7, onChange: near.resolve });
  expect(await near.promise).toBe(true);
});
