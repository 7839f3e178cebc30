import { jobStream, priorityNames, queueConsumer } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { decodeMadeAnew } from "./ensure-queue-consumers.ts";
import { JetStreamApi } from "./jetstream-api.ts";
import { Link } from "./link.ts";
import { RequestMux } from "./request-mux.ts";
import { startTestNats, type TestNats } from "./testing.ts";

let nats: TestNats;
let bus: Bus;
/** As an operator who goes past Millrace. */
let link: Link;
let operator: JetStreamApi;
beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  link = await Link.open({ servers: nats.url, name: "operator" });
  operator = new JetStreamApi(link, new RequestMux(link, link.newInbox()));
  await bus.ensureTopology();
});
afterAll(async () => {
  await link[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

const options = { ackWaitMs: 30_000 };
const first = [1, 2, 3, 4].map((level) => ({ level, anewSeq: 0 }));

test("the first consumers of a queue have nothing to look up, however often they are asked for", async () => {
  await bus.publishDurable("jobs.high.first.t", new Uint8Array(1));
  expect(await bus.ensureQueueConsumers("first", options)).toEqual(first);
  expect(await bus.ensureQueueConsumers("first", options)).toEqual(first);
  expect(await bus.ensureQueueConsumers("first", { ackWaitMs: 20_000 })).toEqual(first);
});

test("one that was deleted is made anew, and says up to where", async () => {
  await bus.ensureQueueConsumers("again", options);
  for (let i = 0; i < 3; i++) await bus.publishDurable("jobs.high.again.t", new Uint8Array(1));
  const { lastSeq } = await bus.streamState("JOBS_HIGH");
  await operator.request(`CONSUMER.DELETE.JOBS_HIGH.${queueConsumer("again")}`, undefined);
  const anew = first.map((lane) => (lane.level === 2 ? { level: 2, anewSeq: lastSeq } : lane));
  expect(await bus.ensureQueueConsumers("again", options)).toEqual(anew);
  await bus.publishDurable("jobs.high.again.t", new Uint8Array(1));
  // Others hear it too: later, by the consumer, and at once, by the bucket.
  expect(await bus.ensureQueueConsumers("again", { ackWaitMs: 20_000 })).toEqual(anew);
  const entry = await bus.kv("consumers").get("again");
  expect([...decodeMadeAnew(entry?.value ?? new Uint8Array(0))]).toEqual([["JOBS_HIGH", lastSeq]]);
  expect(await bus.consumerState("JOBS_HIGH", queueConsumer("again"))).toMatchObject({ pending: 4 });
});

test("consumers of before queues were remembered are no first ones", async () => {
  await bus.ensureQueueConsumers("old", options);
  await bus.kv("consumers").delete("old");
  expect(await bus.ensureQueueConsumers("old", options)).toEqual(first);
  for (const priority of priorityNames) {
    await operator.request(`CONSUMER.DELETE.${jobStream(priority)}.${queueConsumer("old")}`, undefined);
  }
  const { lastSeq } = await bus.streamState("JOBS_HIGH");
  expect(lastSeq).toBeGreaterThan(0);
  expect((await bus.ensureQueueConsumers("old", options)).find(({ level }) => level === 2)?.anewSeq).toBe(lastSeq);
});
