import { join } from "node:path";
import { JobState } from "@millrace/protocol";
import { freePort, root, ServiceProcess } from "../lib/process.ts";
import { startPostgres } from "../lib/postgres.ts";
import { until } from "../lib/until.ts";
import { BenchChild } from "./child.ts";
import { installPlugin } from "./install-plugin.ts";
import type { Row } from "./report.ts";
import type { JobCeilings, Sizes } from "./section-jobs.ts";
import { startNats } from "./servers.ts";
import { prepareTopology } from "./topology.ts";

/** Returns its input. */
const noopModule = join(root, "packages/plugin-host/fixtures/fixtures.wasm");

/** Asks for the jobs whose rows say that they are done, by the counters: counting rows would cost what is measured. */
async function countProjected(url: string): Promise<{ readonly ask: () => Promise<number> } & AsyncDisposable> {
  const { Client } = (await import("pg")).default;
  const client = new Client({ connectionString: url });
  await client.connect();
  return {
    async ask() {
      const text = "select coalesce(sum(count), 0)::text as done from queue_stats where state = $1";
      const { rows } = await client.query<{ done: string }>(text, [JobState.SUCCEEDED]);
      return Number(rows[0]?.done);
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** The way from submit to ack with projector and PostgreSQL on the same cores, and how fast the projection catches up. */
export async function measureProjection(sizes: Sizes, bull: JobCeilings): Promise<Row[]> {
  const postgres = await startPostgres("default");
  if (postgres === undefined) return [];
  await using _postgres = postgres;
  await using nats = await startNats();
  await prepareTopology(nats.port, ["noop"]);
  const env = {
    NATS_URL: `nats://127.0.0.1:${nats.port}`,
    DATABASE_URL: postgres.url,
    MILLRACE_OPS_PORT: "0",
  };
  const rows: Row[] = [];
  await using projected = await countProjected(postgres.url);
  await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
  let rate = 0;
  {
    await using _projector = ServiceProcess.service("projector", env);
    await until(async () => ((await projected.ask()) >= 0 ? true : undefined), "the projector's tables");
    await using worker = await BenchChild.start("millrace-worker.ts", { port: nats.port, queues: ["noop"] });
    const start = performance.now();
    const done = worker.go({ jobs: sizes.jobs });
    await client.go({ jobs: sizes.jobs, queue: "noop", type: "noop" });
    await done;
    rate = (sizes.jobs / (performance.now() - start)) * 1000;
    rows.push({
      what: "submit → ack with projector and PostgreSQL on the same cores",
      value: rate,
      unit: "jobs/s",
      against: bull.bullBoth === undefined ? [] : [{ name: "BullMQ", value: bull.bullBoth, atLeast: 2 }],
    });
    await until(
      async () => ((await projected.ask()) >= sizes.jobs ? true : undefined),
      "the projection of the first burst",
      120_000,
    );
  }
  {
    // A burst with the projector away, then the time it takes to catch up.
    await using worker = await BenchChild.start("millrace-worker.ts", { port: nats.port, queues: ["noop"] });
    const done = worker.go({ jobs: sizes.jobs });
    await client.go({ jobs: sizes.jobs, queue: "noop", type: "noop" });
    await done;
  }
  const before = await projected.ask();
  const opsPort = await freePort();
  await using projector = ServiceProcess.service("projector", { ...env, MILLRACE_OPS_PORT: String(opsPort) });
  await projector.ready(`http://127.0.0.1:${opsPort}/health/ready`);
  const start = performance.now();
  await until(
    async () => ((await projected.ask()) >= before + sizes.jobs ? true : undefined),
    "the projection to catch up",
    120_000,
  );
  const caughtUp = (sizes.jobs / (performance.now() - start)) * 1000;
  rows.push({
    what: "projection catching up after a burst",
    value: caughtUp,
    unit: "jobs/s",
    against: [{ name: "the rate of ingest above", value: rate, atLeast: 2 }],
  });
  return rows;
}

/** Plugin jobs through one executor, with an instance put back after each job, and with one that keeps its state. */
export async function measurePlugins(sizes: Sizes): Promise<Row[]> {
  await using nats = await startNats();
  await prepareTopology(nats.port, ["plug"]);
  const kinds = [
    { type: "noop_hermetic", stateful: false, atLeast: 8000 },
    { type: "noop_stateful", stateful: true, atLeast: 10_000 },
  ];
  for (const { type, stateful } of kinds) {
    await installPlugin(nats.port, { name: type, type, export: "noop", file: noopModule, stateful });
  }
  await using client = await BenchChild.start("client-submit.ts", { port: nats.port });
  await using worker = await BenchChild.start("millrace-worker.ts", {
    port: nats.port,
    queues: ["plug"],
    executors: 1,
  });
  const jobs = sizes.jobs / 2;
  const rates = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    for (const { type } of kinds) {
      const start = performance.now();
      const done = worker.go({ settledJobs: jobs });
      await client.go({ jobs, queue: "plug", type });
      await done;
      rates.set(type, Math.max(rates.get(type) ?? 0, (jobs / (performance.now() - start)) * 1000));
    }
  }
  return kinds.map(({ type, stateful, atLeast }) => ({
    what: `submit → plugin call → ack, one executor, ${stateful ? "state kept" : "no state kept"}`,
    value: rates.get(type)!,
    unit: "jobs/s",
    atLeast,
  }));
}
