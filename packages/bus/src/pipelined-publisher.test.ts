import { defaultTopologyLimits } from "@millrace/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { PublishAck } from "./publish-ack.ts";
import { startTestNats, type TestNats } from "./testing.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

let nats: TestNats;
let bus: Bus;

beforeEach(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology({ limits: { ...defaultTopologyLimits, jobStreamBytes: 1 << 20 } });
});

afterEach(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

it("stores a message once, however often it is published under the same id", async () => {
  const first = await bus.publishDurable("jobs.high.q.t.a", text("1"), [["Nats-Msg-Id", "a:1"]]);
  const second = await bus.publishDurable("jobs.high.q.t.a", text("1"), [["Nats-Msg-Id", "a:1"]]);
  expect(first.duplicate).toBe(false);
  expect(second).toMatchObject({ duplicate: true, seq: first.seq, stream: "JOBS_HIGH" });
});

it("never has more in flight than its window", async () => {
  await using publisher = bus.publisher({ windowMessages: 10 });
  let most = 0;
  function* jobs() {
    for (let i = 0; i < 500; i++) {
      most = Math.max(most, publisher.inFlight);
      yield { subject: `jobs.low.q.t.w${i}`, data: text("x") };
    }
  }
  expect(await publisher.publishMany(jobs())).toEqual({ stored: 500, failed: 0 });
  expect(most).toBeLessThanOrEqual(10);
  const acks = await Promise.all(
    Array.from({ length: 300 }, (_, i) => publisher.publish({ subject: `jobs.low.q.t.v${i}`, data: text("") })),
  );
  expect(new Set(acks.map((ack) => ack.seq)).size).toBe(300);
});

it("says that a stream is full, and takes jobs again when there is room", async () => {
  const data = new Uint8Array(100_000);
  const acks: PublishAck[] = [];
  const fill = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) acks.push(await bus.publishDurable(`jobs.normal.q.t.f${i}`, data));
  };
  await expect(fill()).rejects.toMatchObject({ code: "resource_exhausted", retryAfterMs: 1000 });
  expect(acks.length).toBeGreaterThan(5);
  await bus.upkeep.deleteMessage("JOBS_NORMAL", acks[0]?.seq ?? 0);
  await bus.publishDurable("jobs.normal.q.t.again", data);
});

it("refuses what the broker would, with the reason", async () => {
  await expect(bus.publishDurable("jobs.high.q.t.big", new Uint8Array(3 << 20))).rejects.toMatchObject({
    code: "out_of_range",
  });
  await using publisher = bus.publisher({ deliveryTimeoutMs: 300 });
  await expect(publisher.publish({ subject: "no.stream", data: text("") })).rejects.toMatchObject({
    code: "unavailable",
  });
});

it("delivers what was in flight when the broker was killed, and what was published while it was away", async () => {
  await using publisher = bus.publisher({ windowMessages: 500 });
  const accepted = new Set<number>();
  let killed: Promise<void> | undefined;
  function* jobs() {
    for (let i = 0; i < 5000; i++) {
      if (i === 2000) killed = nats.kill9().then(() => nats.restart());
      yield { subject: `jobs.critical.q.t.k${i}`, data: text("x") };
    }
  }
  const summary = await publisher.publishMany(jobs(), (index, error) => {
    if (error === undefined) accepted.add(index);
  });
  await killed;
  expect(summary).toEqual({ stored: 5000, failed: 0 });
  // In the job stream itself: copies in EVENTS that the broker had not stored yet die with it.
  await bus.ensureQueueConsumers("q", { ackWaitMs: 30_000 });
  const stored = new Set<string>();
  const read = Promise.withResolvers<void>();
  bus.pull(
    "JOBS_CRITICAL",
    "w_q",
    { batch: 10_000, expiresMs: 5000, noWait: true },
    {
      onMessage: (message) => stored.add(message.subject.slice(message.subject.lastIndexOf(".") + 2)),
      onEnd: () => read.resolve(),
    },
  );
  await read.promise;
  const lost = [...accepted].filter((index) => !stored.has(String(index)));
  expect(lost).toEqual([]);
  expect(bus.status.epoch).toBe(2);
});

it("ends every promise when the bus is closed", async () => {
  await nats.kill9();
  const publisher = bus.publisher({ deliveryTimeoutMs: 200 });
  const pending = publisher.publish({ subject: "jobs.high.q.t.z", data: text("") });
  await expect(pending).rejects.toMatchObject({ code: "unavailable" });
  await publisher[Symbol.asyncDispose]();
  await expect(publisher.publish({ subject: "jobs.high.q.t.z", data: text("") })).rejects.toMatchObject({
    code: "unavailable",
  });
});
