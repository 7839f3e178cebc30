/** What a callback throws stays with it: the connection, and all others, go on. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { jobStream } from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { startTestNats, type TestNats } from "./testing.ts";

const none = new Uint8Array(0);
const fail = (): never => {
  throw new Error("on purpose");
};

let nats: TestNats;
let bus: Bus;
const logged: string[] = [];

beforeAll(async () => {
  nats = await startTestNats();
  const quiet = (): void => undefined;
  const error = (fields: object): void => void logged.push(String("callback" in fields ? fields.callback : ""));
  bus = await connectBus({
    servers: nats.url,
    name: "test",
    logger: { debug: quiet, info: quiet, warn: quiet, error },
  });
  await bus.ensureTopology();
  await bus.ensureQueueConsumers("q", { ackWaitMs: 1000 });
});

afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

it("goes on when a subscription's callback throws, or its promise rejects", async () => {
  const before = bus.callbackFailures;
  using _throws = bus.subscribe("bad.throws", {}, fail);
  using _rejects = bus.subscribe("bad.rejects", {}, async () => {
    await Promise.resolve();
    fail();
  });
  bus.publish("bad.throws", none);
  bus.publish("bad.rejects", none);
  await bus.flush();
  await expect.poll(() => bus.callbackFailures).toBe(before + 2);
  expect(logged.slice(-2).toSorted()).toEqual(["bad.rejects", "bad.throws"]);
  using _echo = bus.subscribe("good", {}, (message) => void bus.publish(message.reply, message.data));
  await bus.request("good", none, { timeoutMs: 1000 });
});

it("counts what a pull gave, although its handlers throw", async () => {
  const before = bus.callbackFailures;
  for (let i = 0; i < 2; i++) await bus.publishDurable(`jobs.high.q.t.g${i}`, none);
  const ended = Promise.withResolvers<number>();
  bus.pull(
    jobStream("high"),
    "w_q",
    { batch: 2, expiresMs: 5000 },
    {
      onMessage: fail,
      onEnd: ({ received }) => {
        ended.resolve(received);
        fail();
      },
    },
  );
  expect(await ended.promise).toBe(2);
  await expect.poll(() => bus.callbackFailures).toBe(before + 3);
});

it("answers the others when one publisher's callback throws", async () => {
  const before = bus.callbackFailures;
  await using publisher = bus.publisher();
  publisher.post({ subject: "jobs.high.q.t.p0", data: none }, fail);
  await publisher.publish({ subject: "jobs.high.q.t.p1", data: none });
  expect(bus.callbackFailures).toBe(before + 1);
});

it("follows the connection although a listener throws", async () => {
  const before = bus.callbackFailures;
  using _ = bus.onStatus(fail);
  await nats.kill9();
  await nats.restart();
  await bus.whenConnected();
  expect(bus.status.epoch).toBe(2);
  expect(bus.callbackFailures).toBe(before + 2);
});

it("forgets a publisher that was disposed", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const make = async (): Promise<WeakRef<object>> => {
    await using publisher = bus.publisher();
    await publisher.publish({ subject: "jobs.high.q.t.f0", data: none });
    return new WeakRef(publisher);
  };
  const kept = await make();
  await expect
    .poll(() => {
      collect();
      return kept.deref() === undefined;
    })
    .toBe(true);
});
