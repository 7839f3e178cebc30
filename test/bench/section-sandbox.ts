import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { BenchChild } from "./child.ts";
import { installPlugin } from "./install-plugin.ts";
import type { Row } from "./report.ts";
import type { Sizes } from "./section-jobs.ts";
import { startNats } from "./servers.ts";
import { prepareTopology } from "./topology.ts";

/** 1 MiB of memory, see plugin.c. */
const plugin = join(import.meta.dirname, "wasm/plugin.wasm");
/** Extism's worker mode gets slower with every call; more than this takes minutes. */
const extismCalls = 2000;
const comparisons = [
  { exported: "work", what: "with a log line and a variable", atLeast: 50 },
  { exported: "echo", what: "that only return their input, 256 bytes", atLeast: undefined },
];
const waitingJobs = 200;
const answerMs = 1000;
const swapRate = 2000;
const swaps = 8;

/** Calls in one thread, plugin jobs end to end, jobs that wait for HTTP, and hot swaps under load. */
export async function measureSandbox(sizes: Sizes): Promise<Row[]> {
  return [...(await measureCalls(sizes)), ...(await measureWaiting()), ...(await measureSwaps())];
}

async function measureCalls(sizes: Sizes): Promise<Row[]> {
  await using child = await BenchChild.start("sandbox-calls.ts", { file: plugin });
  const best = { bare: Infinity, fresh: Infinity, hermetic: Infinity, stateful: Infinity };
  for (let round = 0; round < 3; round++) {
    for (const kind of ["bare", "fresh", "hermetic", "stateful"] as const) {
      const figures = await child.go({ kind, calls: sizes.requests / 4 });
      best[kind] = Math.min(best[kind], figures["p50"]!);
    }
  }
  const compared: Row[] = [];
  for (const { exported, what, atLeast } of comparisons) {
    const ours = await child.go({ kind: "millrace", exported, calls: extismCalls });
    const extism = await child.go({ kind: "extism", exported, calls: extismCalls });
    const against = { name: "Extism's runInWorker with a timeout, the same plugin", value: extism["perSecond"]! };
    compared.push({
      what: `hermetic calls ${what}, ${extismCalls} of them`,
      value: ours["perSecond"]!,
      unit: "calls/s",
      against: [atLeast === undefined ? against : { ...against, atLeast }],
    });
  }
  return [
    {
      what: "hermetic call of a 1 MiB plugin, over a bare export call, p50",
      value: best.hermetic - best.bare,
      unit: "µs",
      atMost: 60,
    },
    { what: "the same, stateful", value: best.stateful - best.bare, unit: "µs" },
    { what: "a fresh instance alone, for comparison", value: best.fresh, unit: "µs" },
    ...compared,
  ];
}

/** Jobs whose plugin waits for an HTTP answer, all at once on one executor. */
async function measureWaiting(): Promise<Row[]> {
  const server = createServer((_request, response) => void setTimeout(() => response.end("late"), answerMs));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await using nats = await startNats();
    await prepareTopology(nats.port, ["wait"]);
    await installPlugin(nats.port, {
      name: "asker",
      type: "ask",
      export: "ask",
      file: plugin,
      http: [`http://${host}`],
    });
    await using load = await BenchChild.start("plugin-load.ts", { port: nats.port });
    await using _worker = await BenchChild.start("millrace-worker.ts", {
      port: nats.port,
      queues: ["wait"],
      executors: 1,
      pluginHttpPrivate: [host],
    });
    const input = JSON.stringify({ url: `http://${host}/`, method: "GET" });
    await load.go({ queue: "wait", type: "ask", jobs: 10, input });
    const { ms, failed } = await load.go({ queue: "wait", type: "ask", jobs: waitingJobs, input });
    return [
      {
        what: `${waitingJobs} plugin jobs that each wait 1 s for HTTP, one executor, all done`,
        value: ms! / 1000,
        unit: "s",
        atMost: 1.5,
      },
      { what: "of these failed", value: failed!, unit: "jobs", atMost: 0 },
    ];
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** A steady load, undisturbed and while new versions arrive. */
async function measureSwaps(): Promise<Row[]> {
  await using nats = await startNats();
  await prepareTopology(nats.port, ["swap"]);
  const install = (version: number) =>
    installPlugin(nats.port, { name: "echo", type: "echo", export: "echo", file: plugin, version: `1.0.${version}` });
  await install(0);
  await using load = await BenchChild.start("plugin-load.ts", { port: nats.port });
  await using _worker = await BenchChild.start("millrace-worker.ts", {
    port: nats.port,
    queues: ["swap"],
    executors: 1,
  });
  const steady = { queue: "swap", type: "echo", jobs: swapRate * swaps, perSecond: swapRate, input: "hello" };
  await load.go({ ...steady, jobs: swapRate });
  const undisturbed = await load.go(steady);
  const running = load.go(steady);
  for (let version = 1; version <= swaps - 1; version++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await install(version);
  }
  const swapped = await running;
  return [
    { what: `plugin jobs at ${swapRate}/s, p99 undisturbed`, value: undisturbed["p99"]!, unit: "ms" },
    {
      what: `the same with a hot swap every second, p99`,
      value: swapped["p99"]!,
      unit: "ms",
      against: [{ name: "undisturbed", value: undisturbed["p99"]!, atMost: 2 }],
    },
    { what: "of these failed", value: swapped["failed"]! + undisturbed["failed"]!, unit: "jobs", atMost: 0 },
  ];
}
