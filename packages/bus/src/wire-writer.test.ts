import { afterEach, beforeEach, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { BusMessage } from "./bus-message.ts";
import type { Delivery } from "./delivery.ts";
import { EncodedHeaders, encodeHeaders } from "./encode-headers.ts";
import { startTestNats, type TestNats } from "./testing.ts";

let nats: TestNats;
let bus: Bus;

beforeEach(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
});

afterEach(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

it("writes messages of all sizes as they are, in their order, with headers as text and as bytes", async () => {
  await using other = await connectBus({ servers: nats.url, name: "other" });
  const heard: BusMessage[] = [];
  other.subscribe("jobs.low.>", {}, (message) => void heard.push(message));
  await other.flush();
  await using publisher = bus.publisher();
  // Around what is copied, and across the ends of several slabs.
  const sizes = [0, 1, 255, 3900, 3990, 4000, 4010, 4096, 5000, 70_000, 200_000];
  const sent = Array.from({ length: 400 }, (_, index) => {
    const data = new Uint8Array(sizes[index % sizes.length] ?? 0).fill(index % 251);
    const id = `id-${index}`;
    const headers =
      index % 2 === 0
        ? new EncodedHeaders(`NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`)
        : encodeHeaders([
            ["Nats-Msg-Id", id],
            ["Who", "Zoë ✓"],
          ]);
    return { subject: `jobs.low.q.ü${index}`, data, headers };
  });
  expect(await publisher.publishMany(sent)).toEqual({ stored: sent.length, failed: 0 });
  await expect.poll(() => heard.length, { timeout: 5000 }).toBe(sent.length);
  expect(heard.map(({ subject }) => subject)).toEqual(sent.map(({ subject }) => subject));
  for (const [index, message] of heard.entries()) {
    expect(Buffer.compare(message.data, sent[index]?.data ?? new Uint8Array(1))).toBe(0);
    expect(message.header("Nats-Msg-Id")).toBe(`id-${index}`);
    expect(message.header("Who")).toBe(index % 2 === 0 ? undefined : "Zoë ✓");
  }
});

it("acks many deliveries at once, and says so when there is no connection", async () => {
  const count = 3000;
  const data = new Uint8Array(1);
  await using publisher = bus.publisher();
  await publisher.publishMany(Array.from({ length: count }, (_, i) => ({ subject: `jobs.high.q.t.a${i}`, data })));
  await bus.ensureQueueConsumers("q", { ackWaitMs: 30_000 });
  const got: Delivery[] = [];
  const ended = Promise.withResolvers<void>();
  const options = { batch: count, expiresMs: 5000, noWait: true };
  bus.pull("JOBS_HIGH", "w_q", options, { onMessage: (it) => void got.push(it), onEnd: () => ended.resolve() });
  await ended.promise;
  expect(got).toHaveLength(count);
  // More than one slab holds.
  expect(bus.ackAll(got.slice(0, -1).map(({ replyBytes }) => replyBytes))).toBe(true);
  await bus.flush();
  const { ackPending, ackFloorSeq } = await bus.consumerState("JOBS_HIGH", "w_q");
  expect([ackPending, ackFloorSeq]).toEqual([1, count - 1]);
  await nats.kill9();
  await expect.poll(() => bus.ackAll(got.slice(-1).map(({ replyBytes }) => replyBytes)), { timeout: 5000 }).toBe(false);
});

it("keeps the frame of a message whose header text is not the ASCII that it should be", async () => {
  await using publisher = bus.publisher({ ackTimeoutMs: 500, deliveryTimeoutMs: 2000 });
  const headers = new EncodedHeaders("NATS/1.0\r\nNats-Msg-Id: odd\r\nWho: Zoë ✓\r\n\r\n");
  const data = new TextEncoder().encode("body");
  const { seq, stream } = await publisher.publish({ subject: "jobs.low.q.odd", data, headers });
  expect(new TextDecoder().decode((await bus.messageAt(stream, seq))?.data)).toBe("body");
  expect(bus.status.epoch).toBe(1);
});
