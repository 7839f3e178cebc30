import { freePort } from "../lib/process.ts";
import { startStandaloneProcess } from "../lib/standalone.ts";
import { BenchChild } from "./child.ts";
import { cpuTimeUs } from "./cpu-time.ts";
import { grpcFrame, hasLoadGenerator, runLoad, type Load, type LoadFigures } from "./load.ts";
import { median } from "./median.ts";
import type { Row } from "./report.ts";
import type { Sizes } from "./section-jobs.ts";

/** Answers from the gateway's memory, and asks for the permission `system:read`. */
const method = "/millrace.system.v1.SystemService/GetInfo";
const framedType = { "content-type": "application/grpc", te: "trailers" };
const rounds = 3;

type DoorName = "REST" | "Connect" | "gRPC";
type Contender = DoorName | `open ${DoorName}` | "node" | "fastify" | "grpcJs";

interface Target {
  readonly pid: number;
  readonly load: Load;
}

/** Medians of all rounds. */
interface Measured extends LoadFigures {
  /** A request's share of the time that all threads of the server's process ran, in µs. */
  readonly cpuUs: number;
}

/** Calls of a caller who has to be known, beside servers that ask nobody; needs h2load. */
export async function measureAccess({ requests }: Sizes): Promise<Row[]> {
  if (!(await hasLoadGenerator())) return [];
  const [nodePort, fastifyPort, jsPort] = [await freePort(), await freePort(), await freePort()];
  await using node = await BenchChild.start("http-echo.ts", { port: nodePort });
  await using fastify = await BenchChild.start("fastify-server.ts", { port: fastifyPort });
  await using grpcJs = await BenchChild.start("grpc-js-server.ts", { port: jsPort });
  await using guarded = await startStandaloneProcess({ MILLRACE_LOG_LEVEL: "error" });
  await using open = await startStandaloneProcess({ MILLRACE_LOG_LEVEL: "error", MILLRACE_IDENTITY: "off" });

  const get = (url: string, headers = {}): Load => ({ url, headers, http: 1, requests, connections: 50 });
  const grpc = (address: string, headers = {}): Load => ({
    ...get(`http://${address}${method}`, { ...framedType, ...headers }),
    http: 2,
    body: grpcFrame(new Uint8Array(0)),
  });
  const doors = ({ httpUrl, grpcAddress, process }: typeof guarded, known = {}): Record<DoorName, Target> => {
    const pid = process.child.pid!;
    const json = { "content-type": "application/json", ...known };
    return {
      REST: { pid, load: get(`${httpUrl}/api/v1/system/info`, known) },
      Connect: { pid, load: { ...get(httpUrl + method, json), body: "{}" } },
      gRPC: { pid, load: grpc(grpcAddress, known) },
    };
  };
  const asked = doors(guarded, { authorization: `Bearer ${guarded.token}` });
  const unasked = doors(open);
  const measured = await measureInTurn({
    node: { pid: node.pid, load: get(`http://127.0.0.1:${nodePort}/`) },
    REST: asked.REST,
    "open REST": unasked.REST,
    fastify: { pid: fastify.pid, load: get(`http://127.0.0.1:${fastifyPort}/`) },
    Connect: asked.Connect,
    "open Connect": unasked.Connect,
    grpcJs: { pid: grpcJs.pid, load: grpc(`127.0.0.1:${jsPort}`) },
    gRPC: asked.gRPC,
    "open gRPC": unasked.gRPC,
  });
  return rowsOf(measured);
}

/** All of them in each round, so that what else the machine does meets all. */
async function measureInTurn(targets: Record<Contender, Target>): Promise<Record<Contender, Measured>> {
  const names = Object.keys(targets) as Contender[];
  const all = new Map<Contender, Measured[]>(names.map((name) => [name, []]));
  // The first round only warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const { pid, load } = targets[name];
      const before = cpuTimeUs(pid);
      const figures = await runLoad(load);
      const cpuUs = (cpuTimeUs(pid) - before) / load.requests;
      if (round > 0) all.get(name)!.push({ ...figures, cpuUs });
    }
  }
  const entries = names.map((name): [Contender, Measured] => {
    const runs = all.get(name)!;
    const of = (key: keyof Measured) => median(runs.map((run) => run[key]));
    return [name, { perSecond: of("perSecond"), p50: of("p50"), p99: of("p99"), cpuUs: of("cpuUs") }];
  });
  return Object.fromEntries(entries) as Record<Contender, Measured>;
}

function rowsOf(measured: Record<Contender, Measured>): Row[] {
  const { node, fastify, grpcJs } = measured;
  const httpEcho = [
    { name: "bare Node http server", value: node.perSecond, atLeast: 0.4 },
    { name: "bare Fastify route", value: fastify.perSecond },
  ];
  const against = {
    REST: httpEcho,
    Connect: httpEcho,
    gRPC: [{ name: "@grpc/grpc-js echo server", value: grpcJs.perSecond, atLeast: 0.6 }],
  };
  const latencies = (name: string, { p50, p99 }: Measured): Row[] => [
    { what: `${name}, p50`, value: p50, unit: "ms" },
    { what: `${name}, p99`, value: p99, unit: "ms" },
  ];
  return [
    ...(["REST", "Connect", "gRPC"] as const).flatMap((door): Row[] => [
      {
        what: `${door} GetInfo by a known caller`,
        value: measured[door].perSecond,
        unit: "calls/s",
        against: against[door],
      },
      ...latencies("the same", measured[door]),
      {
        what: "what identity and permission add, CPU per call",
        value: measured[door].cpuUs - measured[`open ${door}`].cpuUs,
        unit: "µs",
        atMost: 60,
      },
      {
        what: "what they add, time per call",
        value: 1e6 / measured[door].perSecond - 1e6 / measured[`open ${door}`].perSecond,
        unit: "µs",
        atMost: 60,
      },
    ]),
    ...latencies("bare Node http server", node),
    ...latencies("bare Fastify route", fastify),
    ...latencies("@grpc/grpc-js echo server", grpcJs),
  ];
}
