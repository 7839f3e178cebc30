import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { encodeQueueSettings, jobStream, priorityNames } from "@millrace/protocol";
import { restartBroker } from "./broker.ts";
import { BenchChild, type Figures } from "./child.ts";
import type { Row } from "./report.ts";
import type { Sizes } from "./section-jobs.ts";
import { prepareTopology } from "./topology.ts";

const known = 10_000;
const served = 1_000;
const busy = 10;
/** Shorter than what workers take by default, so that a queue can be seen to wake twice. */
const queueIdleMs = 20_000;
const mostWaitMs = 90_000;
const rounds = 4;
const warmUp = 50;
/** Requests for settings at one time. */
const atOnce = 64;

const numbered = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}-${i}`);
const busyQueues = numbered("busy", busy);
const quietQueues = numbered("tenant", served - busy);
const otherQueues = numbered("other", known - served);

/** Ten thousand queues that are known, a thousand that a worker serves, ten that jobs come for all the time; beside one queue alone. */
export async function measureQueues(sizes: Sizes): Promise<Row[]> {
  await using few = await startTestNats();
  await using many = await startTestNats();
  await prepareTopology(portOf(few), ["only"]);
  await prepareTopology(portOf(many), []);
  await using bus = await connectBus({ servers: many.url, name: "bench-queues" });
  await setUp(bus, [...busyQueues, ...quietQueues, ...otherQueues]);

  await using fewClient = await BenchChild.start("client-submit.ts", { port: portOf(few) });
  await using fewWorker = await BenchChild.start("millrace-worker.ts", { port: portOf(few), queues: ["only"] });
  await using client = await BenchChild.start("client-submit.ts", { port: portOf(many) });
  const queues = [...busyQueues, ...quietQueues];
  await using worker = await BenchChild.start("millrace-worker.ts", { port: portOf(many), queues, queueIdleMs });
  await submitAndWork(client, worker, 1000, busyQueues);
  await submitAndWork(fewClient, fewWorker, 1000, ["only"]);

  const rows: Row[] = [];
  const woken = quietQueues.slice(warmUp, warmUp + sizes.latencies);
  const samples = woken.length;
  // As in a worker that has run, and woken, some.
  await pickups(client, worker, warmUp, busyQueues);
  await pickups(client, worker, warmUp, quietQueues);
  const awake = await pickups(client, worker, samples, busyQueues);
  const pickupRows = (what: string, { p50, p99 }: Figures): Row[] => [
    {
      what: `${what}, p50`,
      value: p50!,
      unit: "ms",
      against: [{ name: "a queue that is awake", value: awake["p50"]! }],
    },
    {
      what: `${what}, p99`,
      value: p99!,
      unit: "ms",
      atMost: 20,
      against: [{ name: "a queue that is awake", value: awake["p99"]! }],
    },
  ];
  rows.push(
    ...pickupRows("pickup of the first job that a queue ever has", await pickups(client, worker, samples, woken)),
  );

  // The best of each: on a shared machine the disturbed ones say least.
  const best = { few: 0, many: 0 };
  for (let i = 0; i < rounds; i++) {
    // In turn, so that a slow moment of the machine meets both.
    best.few = Math.max(best.few, await submitAndWork(fewClient, fewWorker, sizes.jobs, ["only"]));
    best.many = Math.max(best.many, await submitAndWork(client, worker, sizes.jobs, busyQueues));
  }
  rows.push({
    what: "submit → no-op native handler → durable event → ack: 10,000 queues known, 1,000 served, 10 busy",
    value: best.many,
    unit: "jobs/s",
    against: [{ name: "one queue on a broker of its own", value: best.few, atLeast: 0.8 }],
  });

  await untilAsleep(worker, quietQueues.length);
  await retire(bus, [...quietQueues.slice(0, warmUp), ...woken]);
  await submitAndWork(client, worker, 1000, busyQueues);
  await pickups(client, worker, warmUp, quietQueues);
  rows.push(
    ...pickupRows(
      "pickup of a job whose queue sleeps without consumers",
      await pickups(client, worker, samples, woken),
    ),
  );

  const deliver = async (): Promise<void> => {
    await bus.streamState(jobStream("normal"));
    await pickups(client, worker, 1, quietQueues.slice(-1));
  };
  rows.push({
    what: "restart of the broker after kill -9, until a job for a queue that sleeps is delivered",
    value: await killAndRestart(many, bus, deliver),
    unit: "ms",
    atMost: 10_000,
  });
  await client.go({ jobs: sizes.backlog, queues: otherQueues, type: "noop" });
  rows.push({
    what: `start of another worker of 1,000 queues, ${sizes.backlog.toLocaleString("en-US")} jobs waiting in others`,
    value: await startOf(many, numbered("late", served)),
    unit: "ms",
    against: [{ name: "of a worker of one queue", value: await startOf(few, ["late"]) }],
  });
  return rows;
}

function portOf(nats: TestNats): number {
  return Number(new URL(nats.url).port);
}

async function setUp(bus: Bus, queues: readonly string[]): Promise<void> {
  const settings = encodeQueueSettings({ paused: false, maxWaitingJobs: 1_000_000, maxWaitingBytes: 0 });
  const left = queues.values();
  const write = async (): Promise<void> => {
    for (const queue of left) await bus.kv("queues").put(queue, settings);
  };
  await Promise.all(Array.from({ length: atOnce }, write));
}

/** @returns jobs per second from the first submission to the last ack */
async function submitAndWork(
  client: BenchChild,
  worker: BenchChild,
  jobs: number,
  queues: readonly string[],
): Promise<number> {
  const start = performance.now();
  const done = worker.go({ jobs });
  await client.go({ jobs, queues, type: "noop" });
  await done;
  return (jobs / (performance.now() - start)) * 1000;
}

/** @returns how long a worker of many queues takes to start, ms */
async function startOf(nats: TestNats, queues: readonly string[]): Promise<number> {
  const start = performance.now();
  await using _ = await BenchChild.start("millrace-worker.ts", { port: portOf(nats), queues });
  return performance.now() - start;
}

/** From publish to the start of the handler, one job at a time, for the queues in turn. */
async function pickups(
  client: BenchChild,
  worker: BenchChild,
  samples: number,
  queues: readonly string[],
): Promise<Figures> {
  const picked = worker.go({ jobs: samples });
  await client.go({ latency: samples, everyMs: 20, queues, type: "stamp" });
  return await picked;
}

async function untilAsleep(worker: BenchChild, queues: number): Promise<void> {
  const until = Date.now() + mostWaitMs;
  while ((await worker.go({ status: true }))["asleep"]! < queues) {
    if (Date.now() > until) throw new Error(`fewer than ${queues} queues sleep after ${mostWaitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** As the projector does where there are very many. A worker that has put a queue to sleep has a pull open for half a minute more. */
async function retire(bus: Bus, queues: readonly string[]): Promise<void> {
  const until = Date.now() + mostWaitMs;
  for (const queue of queues) {
    while (!(await bus.upkeep.retireConsumers(queue, priorityNames.map(jobStream)))) {
      if (Date.now() > until) throw new Error(`something waits for ${queue}, which sleeps`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function killAndRestart(nats: TestNats, bus: Bus, answers: () => Promise<void>): Promise<number> {
  await nats.kill9();
  return restartBroker(nats, bus, answers);
}
