/**
 * What publishers and buckets make of the refusals of a cluster. A plain subscriber answers in the broker's words, where no stream
 * listens: leaders that change at the right moment cannot be had on demand.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { BusMessage } from "./bus-message.ts";
import { apiError } from "./bus-error.ts";
import { startTestNats, type TestNats } from "./testing.ts";

const encoder = new TextEncoder();
const none = new Uint8Array(0);
type Answer = { readonly code: number; readonly natsCode: number } | "stored" | "silence";

let nats: TestNats;
let bus: Bus;
let broker: Bus;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  broker = await connectBus({ servers: nats.url, name: "broker" });
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

/** Answers what comes on a subject with each of these in turn, and then with the last. */
async function answering(subject: string, ...answers: Answer[]): Promise<Disposable & { asked: BusMessage[] }> {
  const asked: BusMessage[] = [];
  const subscription = broker.subscribe(subject, {}, (message) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push(message);
    if (answer === "silence" || answer === undefined) return;
    const body =
      answer === "stored"
        ? { stream: "FAKE", seq: asked.length }
        : { error: { code: answer.code, err_code: answer.natsCode, description: "in words" }, stream: "FAKE", seq: 0 };
    broker.publish(message.reply, encoder.encode(JSON.stringify(body)));
  });
  await broker.flush();
  return { asked, [Symbol.dispose]: () => subscription[Symbol.dispose]() };
}

it.each([
  ["duplicate message id is in process", 409, 10158],
  ["expected last sequence per subject temporarily unavailable", 503, 10163],
  ["JetStream cluster can not handle request", 500, 10009],
  ["JetStream system temporarily unavailable", 503, 10008],
  ["stream is offline", 500, 10118],
  ["too many requests", 429, 10167],
])("tries again after: %s", async (_words, code, natsCode) => {
  using stream = await answering("fake.again", { code, natsCode }, { code, natsCode }, "stored");
  const ack = await bus.publishDurable("fake.again", none);
  expect([ack.seq, stream.asked.length]).toEqual([3, 3]);
  const ids = new Set(stream.asked.map((message) => message.header("Nats-Msg-Id")));
  expect(ids.size).toBe(1);
});

it.each([10071, 10164])("takes %i for a failed expectation, also of what was sent again", async (natsCode) => {
  const wrong = { code: 400, natsCode };
  const aborted = { code: "aborted", natsCode };
  await using publisher = bus.publisher({ ackTimeoutMs: 100 });
  using first = await answering("fake.first", wrong);
  await expect(publisher.publish({ subject: "fake.first", data: none })).rejects.toMatchObject(aborted);
  expect(first.asked).toHaveLength(1);

  using again = await answering("fake.again", "silence", wrong);
  const headers = [
    ["Nats-Msg-Id", "fenced"],
    ["Nats-Expected-Last-Subject-Sequence", "7"],
  ] as const;
  await expect(publisher.publish({ subject: "fake.again", data: none, headers })).rejects.toMatchObject(aborted);
  expect(again.asked.map((message) => message.headers())).toEqual([headers, headers]);
});

it("keeps less in flight while too much comes in, and says so when it never ends", async () => {
  using _ = await answering("fake.full", { code: 429, natsCode: 10167 });
  await using publisher = bus.publisher({ deliveryTimeoutMs: 1000, windowMessages: 1000 });
  const failures: unknown[] = [];
  for (let i = 0; i < 1000; i++) {
    publisher.post({ subject: "fake.full", data: none }, (error) => failures.push(error?.code));
  }
  await expect.poll(() => failures.length, { timeout: 5000 }).toBe(1000);
  expect(new Set(failures)).toEqual(new Set(["resource_exhausted"]));
  let taken = 0;
  while (publisher.post({ subject: "fake.full", data: none }, () => undefined)) taken++;
  expect(taken).toBeLessThan(500);
});

it("writes to a bucket again after a refusal for now, and takes a conflict for one", async () => {
  const kv = bus.kv("queues");
  using _ = await answering("$KV.millrace_queues.a", { code: 503, natsCode: 10163 }, "stored");
  expect(await kv.put("a", none)).toBe(2);
  using _conflict = await answering("$KV.millrace_queues.b", { code: 400, natsCode: 10164 });
  await expect(kv.update("b", none, 1)).rejects.toMatchObject({ code: "aborted" });
});

it("calls what a client should try again by the right name", () => {
  const codeOf = (code: number, natsCode: number): string => apiError("x", { code, natsCode, description: "" }).code;
  expect(codeOf(429, 10167)).toBe("resource_exhausted");
  expect([10009, 10118, 10158, 10163].map((natsCode) => codeOf(500, natsCode))).toEqual(Array(4).fill("unavailable"));
  expect(codeOf(500, 10049)).toBe("internal");
});
