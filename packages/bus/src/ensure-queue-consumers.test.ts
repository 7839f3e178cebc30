import { jobStream, priorityNames, queueConsumer } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { Delivery } from "./delivery.ts";
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

const all = priorityNames.map(jobStream);

async function logsWith(queue: string): Promise<string[]> {
  const logs: string[] = [];
  for (const log of all) {
    if ((await bus.listConsumers(log)).some(({ name }) => name === queueConsumer(queue))) logs.push(log);
  }
  return logs;
}

/** Takes and acks what waits, and retires the queue. */
async function finish(queue: string, log: string, jobs: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  const onMessage = ({ reply }: Delivery): void => void bus.ack(reply);
  const handlers = { onMessage, onEnd: () => done.resolve() };
  bus.pull(log, queueConsumer(queue), { batch: jobs, expiresMs: 1000 }, handlers);
  await done.promise;
  await bus.flush();
  expect(await bus.upkeep.retireConsumers(queue, all)).toBe(true);
}

const pendingAt = async (log: string, queue: string): Promise<number> =>
  (await bus.consumerState(log, queueConsumer(queue))).pending;

test("a level that is not needed yet gets its consumer when it is, and that has nothing to look up", async () => {
  const normal = { ...options, levels: [3] } as const;
  const high = { ...options, levels: [2] } as const;
  await bus.publishDurable("jobs.high.part.t", new Uint8Array(1));
  await bus.publishDurable("jobs.normal.part.t", new Uint8Array(1));
  expect(await bus.ensureQueueConsumers("part", normal)).toEqual([{ level: 3, anewSeq: 0 }]);
  expect(await logsWith("part")).toEqual(["JOBS_NORMAL"]);
  await finish("part", "JOBS_NORMAL", 1);
  expect(await logsWith("part")).toEqual([]);
  // What waited all the time at the other level is not passed over, as its own place was kept.
  expect(await bus.ensureQueueConsumers("part", high)).toEqual([{ level: 2, anewSeq: 0 }]);
  expect(await pendingAt("JOBS_HIGH", "part")).toBe(1);
  const { seq } = await bus.publishDurable("jobs.normal.part.t", new Uint8Array(1));
  const [again] = await bus.ensureQueueConsumers("part", normal);
  expect(again?.anewSeq).toBeLessThan(seq);
  expect(await pendingAt("JOBS_NORMAL", "part")).toBe(1);
  expect(await bus.ensureQueueConsumers("part", { ...options, levels: [1, 4] })).toEqual([
    { level: 1, anewSeq: 0 },
    { level: 4, anewSeq: 0 },
  ]);
});

test("consumers of a queue one of which was deleted by somebody else stay until a worker has made it anew", async () => {
  await bus.ensureQueueConsumers("torn", options);
  await bus.publishDurable("jobs.low.torn.t", new Uint8Array(1));
  await operator.request(`CONSUMER.DELETE.JOBS_LOW.${queueConsumer("torn")}`, undefined);
  expect(await bus.upkeep.retireConsumers("torn", all)).toBe(false);
  await bus.ensureQueueConsumers("torn", options);
  expect(await pendingAt("JOBS_LOW", "torn")).toBe(1);
});

test("of processes that hear of the same job, one makes the consumer, and the others find it", async () => {
  await using other = await connectBus({ servers: nats.url, name: "other" });
  const queues = Array.from({ length: 10 }, (_, i) => `raced-${i}`);
  // Their first, and those after they were deleted as nothing came.
  for (const round of [1, 2]) {
    for (const queue of queues) {
      const { seq } = await bus.publishDurable(`jobs.normal.${queue}.t`, new Uint8Array(1));
      const both = await Promise.all(
        [bus, other].map((process) => process.ensureQueueConsumers(queue, { ...options, levels: [3] })),
      );
      // What came since is delivered for the first time.
      for (const [lane] of both) expect(lane?.anewSeq).toBeLessThan(seq);
      expect(both[1]).toEqual(both[0]);
      const info = await operator.request(`CONSUMER.INFO.JOBS_NORMAL.${queueConsumer(queue)}`, undefined);
      expect(info.number("num_pending")).toBe(1);
      expect(info.object("config").string("deliver_policy")).toBe(round === 1 ? "all" : "by_start_sequence");
      await finish(queue, "JOBS_NORMAL", 1);
    }
  }
});
