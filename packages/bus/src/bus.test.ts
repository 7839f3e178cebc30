import { eventsStream, jobStream, moduleBucket, queueConsumer } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { BusError } from "./bus-error.ts";
import type { Delivery } from "./delivery.ts";
import type { PullEnd, PullOptions } from "./pull-hub.ts";
import { startTestNats, type TestNats } from "./testing.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const read = (value: Uint8Array): string => new TextDecoder().decode(value);

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
  await bus.ensureQueueConsumers("emails", { ackWaitMs: 30_000 });
});

afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

function pullAll(options: PullOptions, from = bus): Promise<{ messages: Delivery[]; end: PullEnd }> {
  const messages: Delivery[] = [];
  return new Promise((resolve) => {
    from.pull(jobStream("high"), queueConsumer("emails"), options, {
      onMessage: (message) => messages.push(message),
      onEnd: (end) => resolve({ messages, end }),
    });
  });
}

describe("core", () => {
  it("answers requests with headers, through a queue group", async () => {
    using _ = bus.subscribe("echo.*", { queue: "echo" }, (message) => {
      bus.publish(message.reply, message.data, { headers: [["X-Was", message.header("X-Is") ?? "none"]] });
    });
    const answer = await bus.request("echo.a", text("hi"), { timeoutMs: 1000, headers: [["X-Is", "here"]] });
    expect(read(answer.data)).toBe("hi");
    expect(answer.headers()).toEqual([["X-Was", "here"]]);
  });

  it("says when nobody listens, and when nobody answers", async () => {
    await expect(bus.request("nobody", text(""), { timeoutMs: 1000 })).rejects.toMatchObject({ code: "unavailable" });
    using _ = bus.subscribe("silent", {}, () => undefined);
    await expect(bus.request("silent", text(""), { timeoutMs: 50 })).rejects.toMatchObject({
      code: "deadline_exceeded",
    });
  });

  it("refuses headers that break out of their line", () => {
    expect(() => bus.publish("x", text(""), { headers: [["A", "b\r\nC: d"]] })).toThrow(BusError);
  });
});

describe("topology", () => {
  it("may be made by many at once, and again", async () => {
    await Promise.all([
      bus.ensureTopology(),
      bus.ensureTopology(),
      bus.ensureQueueConsumers("emails", { ackWaitMs: 30_000 }),
    ]);
    expect(await bus.streamCreatedMs(eventsStream)).toBeGreaterThan(1.7e12);
  });

  it("brings changed limits in line", async () => {
    await bus.ensureQueueConsumers("emails", { ackWaitMs: 20_000 });
    await bus.ensureQueueConsumers("emails", { ackWaitMs: 30_000 });
    const state = await bus.consumerState(jobStream("high"), queueConsumer("emails"));
    expect(state.filter).toBe("jobs.high.emails.>");
  });

  it("makes logs of the job streams: an ack removes nothing", async () => {
    await bus.ensureQueueConsumers("logged", { ackWaitMs: 30_000 });
    const { seq } = await bus.publishDurable("jobs.low.logged.kind.one", text("payload"));
    const delivered = Promise.withResolvers<string>();
    const handlers = { onMessage: (message: Delivery) => delivered.resolve(message.reply), onEnd: () => undefined };
    bus.pull(jobStream("low"), queueConsumer("logged"), { batch: 1, expiresMs: 5000 }, handlers);
    bus.ack(await delivered.promise);
    await bus.flush();
    const consumer = await bus.consumerState(jobStream("low"), queueConsumer("logged"));
    expect(consumer).toMatchObject({ pending: 0, ackPending: 0, ackFloorSeq: seq, acks: true, ackWaitMs: 30_000 });
    expect(new TextDecoder().decode((await bus.messageAt(jobStream("low"), seq))?.data)).toBe("payload");
  });
});

describe("pull", () => {
  it("delivers with its place, and ends a full batch", async () => {
    for (let i = 0; i < 3; i++)
      await bus.publishDurable(`jobs.high.emails.send.p${i}`, text(String(i)), [["X-Index", String(i)]]);
    const { messages, end } = await pullAll({ batch: 3, expiresMs: 5000 });
    expect(end).toMatchObject({ reason: "filled", received: 3 });
    expect(messages.map((message) => message.header("X-Index"))).toEqual(["0", "1", "2"]);
    const [first] = messages;
    expect(first).toMatchObject({
      stream: "JOBS_HIGH",
      consumer: "w_emails",
      delivered: 1,
      pending: 2,
      subject: "jobs.high.emails.send.p0",
    });
    expect(Math.abs((first?.timestampMs ?? 0) - Date.now())).toBeLessThan(60_000);
    for (const message of messages) bus.ack(message.reply);
    await bus.flush();
  });

  it("answers at once with what is there, and waits for the first when nothing is", async () => {
    for (let i = 0; i < 2; i++) await bus.publishDurable(`jobs.high.emails.send.q${i}`, text(""));
    const some = await pullAll({ batch: 100, expiresMs: 5000, noWait: true });
    expect(some.end).toMatchObject({ reason: "empty", received: 2 });
    for (const message of some.messages) bus.ack(message.reply);
    const parked = pullAll({ batch: 100, expiresMs: 5000, noWait: true });
    await bus.flush();
    await bus.publishDurable("jobs.high.emails.send.q9", text(""));
    const { messages } = await parked;
    expect(messages.map((message) => message.subject)).toEqual(["jobs.high.emails.send.q9"]);
    bus.ack(messages[0]?.reply ?? "");
  });

  it("ends empty when its time is over", async () => {
    expect((await pullAll({ batch: 1, expiresMs: 100 })).end).toMatchObject({ reason: "empty", received: 0 });
  });

  it("keeps two open pulls apart", async () => {
    const short = pullAll({ batch: 5, expiresMs: 150 });
    const long = pullAll({ batch: 2, expiresMs: 5000 });
    expect((await short).end).toMatchObject({ reason: "empty", received: 0 });
    for (let i = 0; i < 2; i++) await bus.publishDurable(`jobs.high.emails.send.r${i}`, text(""));
    const { messages, end } = await long;
    expect(end).toMatchObject({ reason: "filled", received: 2 });
    for (const message of messages) bus.ack(message.reply);
  });

  it("gives back with a delay, and counts deliveries", async () => {
    await bus.publishDurable("jobs.high.emails.send.n0", text(""));
    const first = await pullAll({ batch: 1, expiresMs: 2000 });
    bus.nak(first.messages[0]?.reply ?? "", 50);
    const second = await pullAll({ batch: 1, expiresMs: 2000 });
    expect(second.messages[0]?.delivered).toBe(2);
    bus.inProgress(second.messages[0]?.reply ?? "");
    bus.term(second.messages[0]?.reply ?? "");
    await bus.flush();
    expect(await bus.consumerState(jobStream("high"), queueConsumer("emails"))).toMatchObject({
      ackPending: 0,
      pending: 0,
    });
  });

  it("trims a log below a sequence, and never all of it", async () => {
    for (let i = 0; i < 3; i++) await bus.publishDurable(`jobs.critical.trim.t.c${i}`, text(""));
    const { lastSeq } = await bus.streamState("JOBS_CRITICAL");
    for (const seq of [0, 1, lastSeq + 1]) {
      await expect(bus.upkeep.purgeBelow("JOBS_CRITICAL", seq), `below ${seq}`).rejects.toThrow(RangeError);
    }
    await bus.upkeep.purgeBelow("JOBS_CRITICAL", lastSeq);
    expect(await bus.streamState("JOBS_CRITICAL")).toMatchObject({ messages: 1, firstSeq: lastSeq, lastSeq });
  });

  it("deletes one message by sequence", async () => {
    const ack = await bus.publishDurable("jobs.high.emails.send.d0", text(""));
    expect(await bus.upkeep.deleteMessage("JOBS_HIGH", ack.seq)).toBe(true);
    expect(await bus.upkeep.deleteMessage("JOBS_HIGH", ack.seq)).toBe(false);
  });
});

describe("modules", () => {
  it("keeps bytes by their hash", async () => {
    const bytes = new Uint8Array(400_000).map((_, i) => (i * 7) % 251);
    const sha256 = await bus.modules.put(bytes);
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(await bus.modules.put(bytes)).toBe(sha256);
    expect(Buffer.compare(await bus.modules.get(sha256), bytes)).toBe(0);
    const revision = (await bus.modules.revision(sha256)) ?? 0;
    // Whoever stores it again needs it, although it is there already.
    await bus.modules.put(bytes);
    await expect(bus.modules.delete(sha256, revision)).rejects.toMatchObject({ code: "aborted" });
    await bus.modules.delete(sha256, (await bus.modules.revision(sha256)) ?? 0);
    await expect(bus.modules.get(sha256)).rejects.toMatchObject({ code: "not_found" });
    await Promise.all([bus.modules.put(bytes), bus.modules.put(bytes)]);
    expect((await bus.streamState(`OBJ_${moduleBucket}`)).messages).toBe(Math.ceil(bytes.length / (128 << 10)) + 1);
    expect(await bus.modules.put(bytes)).toBe(sha256);
    expect((await bus.modules.get(sha256)).length).toBe(bytes.length);
  });
});
