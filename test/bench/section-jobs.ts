import { startPostgres } from "../lib/postgres.ts";
import { BenchChild, type Figures } from "./child.ts";
import { cpuTimeUs } from "./cpu-time.ts";
import type { Row } from "./report.ts";
import { startNats, startRedis } from "./servers.ts";
import { prepareTopology } from "./topology.ts";

/** How many jobs the sections use; smaller with `--quick`. */
export interface Sizes {
  readonly jobs: number;
  readonly backlog: number;
  readonly waiting: number;
  readonly latencies: number;
  readonly requests: number;
}

async function submitAndWork(
  submitter: BenchChild,
  worker: BenchChild,
  jobs: number,
  queue: string,
  type: string,
): Promise<number> {
  const start = performance.now();
  const done = worker.go({ jobs });
  await submitter.go({ jobs, window: 1000, queue, type });
  await done;
  return (jobs / (performance.now() - start)) * 1000;
}

/** The best of some runs: on a shared machine the disturbed ones say least. */
async function best(runs: number, run: (index: number) => Promise<number>): Promise<number> {
  let most = 0;
  for (let i = 0; i < runs; i++) most = Math.max(most, await run(i));
  return most;
}

/** What some runs cost: the least CPU time a job took in any of them. */
class LeastCost {
  readonly #pids: readonly number[];
  us = Infinity;

  /** @param processes all whose time counts */
  constructor(...processes: readonly { readonly pid: number }[]) {
    this.#pids = processes.map(({ pid }) => pid);
  }

  async of<T>(jobs: number, run: () => Promise<T>): Promise<T> {
    const before = cpuTimeUs(...this.#pids);
    const result = await run();
    this.us = Math.min(this.us, (cpuTimeUs(...this.#pids) - before) / jobs);
    return result;
  }
}

const warmUp = 50;

/** From publish to the start of the handler, in ms, of a worker that has run some such jobs before. */
async function pickupLatencies(
  client: BenchChild,
  worker: BenchChild,
  samples: number,
  load: object,
): Promise<Figures> {
  const measure = async (latency: number): Promise<Figures> => {
    const picked = worker.go({ jobs: latency });
    await client.go({ ...load, latency, type: "stamp" });
    return await picked;
  };
  await measure(warmUp);
  return await measure(samples);
}

export interface JobCeilings {
  readonly bullSubmit: number | undefined;
  /** With four `addBulk` in flight. */
  readonly bullSubmitFour: number | undefined;
  readonly bullBoth: number | undefined;
  readonly bullPickupP50: number | undefined;
}

/** BullMQ's figures for the same jobs; undefined where Redis is not installed. */
export async function measureBullMq(sizes: Sizes): Promise<JobCeilings> {
  await using redis = await startRedis();
  if (redis === undefined)
    return { bullSubmit: undefined, bullSubmitFour: undefined, bullBoth: undefined, bullPickupP50: undefined };
  await using submitter = await BenchChild.start("bullmq-submit.ts", { port: redis.port });
  const jobs = Math.max(10_000, Math.round(sizes.jobs / 4 / 1000) * 1000);
  const [one, four] = [await submitter.go({ jobs, inFlight: 1 }), await submitter.go({ jobs, inFlight: 4 })];
  await using worker = await BenchChild.start("bullmq-worker.ts", { port: redis.port, concurrency: 100 });
  await worker.go({ jobs: 2 * jobs });
  const both = await best(2, () => submitAndWork(submitter, worker, jobs, "", ""));
  const pickup = worker.go({ jobs: sizes.latencies });
  await submitter.go({ latency: sizes.latencies, settleMs: 5 });
  const { p50 } = await pickup;
  return { bullSubmit: one["perSecond"]!, bullSubmitFour: four["perSecond"]!, bullBoth: both, bullPickupP50: p50! };
}

/** Submitting, and the way from submit to ack, beside the raw ceilings of the same server. */
export async function measureJobs(sizes: Sizes, bull: JobCeilings): Promise<Row[]> {
  const rows: Row[] = [];
  await using nats = await startNats();
  const queues = ["raw", "client", "rawboth", "noop", "pickup", "busy"];
  await prepareTopology(nats.port, queues);

  {
    await using raw = await BenchChild.start("raw-submit.ts", { port: nats.port });
    await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
    const [rawCost, cost] = [new LeastCost(nats, raw), new LeastCost(nats, client)];
    let rawRate = 0;
    // In turn, so that a slow moment of the machine meets both.
    const clientRate = await best(4, async (i) => {
      const rawLoad = { jobs: sizes.jobs, window: 1000, queue: `raw${i}` };
      rawRate = Math.max(rawRate, (await rawCost.of(sizes.jobs, () => raw.go(rawLoad)))["perSecond"]!);
      const load = { jobs: sizes.jobs, queue: `client${i}`, type: "noop" };
      return (await cost.of(sizes.jobs, () => client.go(load)))["perSecond"]!;
    });
    rows.push({
      what: "submit through @millrace/client, 256-byte jobs",
      value: clientRate,
      unit: "jobs/s",
      against: [
        { name: "raw JetStream", value: rawRate, atLeast: 0.8 },
        ...(bull.bullSubmit === undefined
          ? []
          : [{ name: "BullMQ addBulk, 1000 a call", value: bull.bullSubmit, atLeast: 2.5 }]),
        ...(bull.bullSubmitFour === undefined
          ? []
          : [{ name: "BullMQ addBulk, four such calls in flight", value: bull.bullSubmitFour }]),
      ],
    });
    rows.push({
      what: "the same, CPU time of submitter and broker",
      value: cost.us,
      unit: "µs a job",
      against: [{ name: "raw JetStream", value: rawCost.us, atMost: 1.25 }],
    });
  }

  {
    await using submitter = await BenchChild.start("raw-submit.ts", { port: nats.port });
    await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
    await using rawWorker = await BenchChild.start("raw-worker.ts", { port: nats.port, queue: "rawboth" });
    await using worker = await BenchChild.start("millrace-worker.ts", { port: nats.port, queues: ["noop"] });
    const rawCost = new LeastCost(nats, submitter, rawWorker);
    const cost = new LeastCost(nats, client, worker);
    let rawRate = 0;
    const rate = await best(4, async () => {
      const { jobs } = sizes;
      const runRaw = () => submitAndWork(submitter, rawWorker, jobs, "rawboth", "noop");
      rawRate = Math.max(rawRate, await rawCost.of(jobs, runRaw));
      return await cost.of(jobs, () => submitAndWork(client, worker, jobs, "noop", "noop"));
    });
    rows.push({
      what: "submit → no-op native handler → durable event → ack, two processes",
      value: rate,
      unit: "jobs/s",
      against: [
        { name: "raw two-process ceiling", value: rawRate, atLeast: 0.7 },
        ...(bull.bullBoth === undefined ? [] : [{ name: "BullMQ", value: bull.bullBoth, atLeast: 3.5 }]),
      ],
    });
    rows.push({
      what: "the same, CPU time of submitter, worker and broker",
      value: cost.us,
      unit: "µs a job",
      against: [{ name: "raw two-process ceiling", value: rawCost.us, atMost: 1.43 }],
    });
  }

  {
    await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
    await using worker = await BenchChild.start("millrace-worker.ts", { port: nats.port, queues: ["pickup"] });
    const { p50, p99 } = await pickupLatencies(client, worker, sizes.latencies, { everyMs: 5, queue: "pickup" });
    rows.push({
      what: "pickup when idle, submit → handler starts, p50",
      value: p50!,
      unit: "ms",
      against: bull.bullPickupP50 === undefined ? [] : [{ name: "BullMQ", value: bull.bullPickupP50, atMost: 1 }],
    });
    rows.push({ what: "pickup when idle, p99", value: p99!, unit: "ms", atMost: 5 });
  }

  {
    await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
    await client.go({ jobs: sizes.backlog, queue: "busy", type: "sleep5", priority: "low" });
    await using worker = await BenchChild.start("millrace-worker.ts", { port: nats.port, queues: ["busy"], slots: 16 });
    const load = { everyMs: 20, queue: "busy", priority: "critical" };
    const { p50, p99 } = await pickupLatencies(client, worker, sizes.latencies, load);
    const what = `a critical job, slots busy with 5 ms low jobs, ${sizes.backlog.toLocaleString("en-US")} waiting`;
    rows.push({ what: `${what}, p50`, value: p50!, unit: "ms" });
    rows.push({ what: `${what}, p99`, value: p99!, unit: "ms", atMost: 20 });
  }
  return rows;
}

/** Submitting in bulk by API, under ids that the callers choose beside ids that control makes; needs PostgreSQL. */
export async function measureChosenIds(sizes: Sizes): Promise<Row[]> {
  const postgres = await startPostgres("default");
  if (postgres === undefined) return [];
  await using _server = postgres;
  await using nats = await startNats();
  await prepareTopology(nats.port, ["bulk"]);
  await using control = await BenchChild.start("control-submit.ts", { port: nats.port, url: postgres.url });
  const jobs = sizes.jobs / 2;
  const rateOf = async (chosen: boolean): Promise<number> => (await control.go({ jobs, chosen }))["perSecond"]!;
  let made = 0;
  const chosen = await best(3, async () => {
    made = Math.max(made, await rateOf(false));
    return await rateOf(true);
  });
  return [
    {
      what: "SubmitJobs, 1000 jobs a call, ids that the caller chose",
      value: chosen,
      unit: "jobs/s",
      against: [{ name: "ids that control makes", value: made, atLeast: 0.4 }],
    },
  ];
}

/** Memory of a worker that has work to do, with few and with many jobs waiting. */
export async function measureMemory(sizes: Sizes): Promise<Row[]> {
  await using nats = await startNats();
  await prepareTopology(nats.port, ["mem"]);
  await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
  const measure = async (): Promise<number> => {
    await using worker = await BenchChild.start("millrace-worker.ts", { port: nats.port, queues: ["mem"], slots: 16 });
    // Long enough at work for buffers to have their size.
    await worker.go({ jobs: 0, work: "sleep5" });
    await new Promise((resolve) => setTimeout(resolve, 5000));
    return (await worker.go({ memory: true }))["rss"]! / 1e6;
  };
  await client.go({ jobs: 20_000, queue: "mem", type: "sleep5", priority: "low" });
  const few = await measure();
  await client.go({ jobs: sizes.waiting, queue: "mem", type: "sleep5", priority: "low" });
  const many = await measure();
  return [
    { what: "worker memory with 20,000 jobs waiting", value: few, unit: "MB" },
    { what: `worker memory with ${sizes.waiting.toLocaleString("en-US")} jobs waiting`, value: many, unit: "MB" },
    { what: "the difference", value: many - few, unit: "MB", atMost: 20 },
  ];
}

/** Graphile Worker and pg-boss, for the record. */
export async function measurePostgresQueues(sizes: Sizes): Promise<Row[]> {
  const postgres = await startPostgres("default");
  if (postgres === undefined) return [];
  await using _server = postgres;
  const jobs = Math.max(10_000, Math.round(sizes.jobs / 4 / 1000) * 1000);
  const rows: Row[] = [];
  for (const [name, program] of [
    ["Graphile Worker", "graphile.ts"],
    ["pg-boss", "pg-boss.ts"],
  ] as const) {
    await using child = await BenchChild.start(program, { url: postgres.url });
    const figures = await child.go({ jobs });
    rows.push({ what: `${name}, submit`, value: figures["submitPerSecond"]!, unit: "jobs/s" });
    rows.push({ what: `${name}, work`, value: figures["workPerSecond"]!, unit: "jobs/s" });
    rows.push({ what: `${name}, submit then work`, value: figures["perSecond"]!, unit: "jobs/s" });
  }
  return rows;
}
