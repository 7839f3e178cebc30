import { create, toBinary } from "@bufbuild/protobuf";
import { GetJobRequestSchema } from "@millrace/protocol";
import { startStandaloneProcess } from "../lib/standalone.ts";
import { freePort } from "../lib/process.ts";
import { BenchChild } from "./child.ts";
import { grpcFrame, hasLoadGenerator, runLoad, type Load } from "./load.ts";
import type { Row } from "./report.ts";
import type { Sizes } from "./section-jobs.ts";

const method = "/millrace.system.v1.SystemService/GetInfo";
const jsonType = { "content-type": "application/json" };
const framedType = { "content-type": "application/grpc", te: "trailers" };

/** The gateway's doors beside bare servers; needs h2load. */
export async function measureDoors(sizes: Sizes): Promise<Row[]> {
  if (!(await hasLoadGenerator())) return [];
  const [echoPort, nodePort, node2Port, jsPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  await using _echo = await BenchChild.start("http-echo.ts", { port: echoPort });
  await using _node = await BenchChild.start("connect-node-server.ts", { port: nodePort, http2Port: node2Port });
  await using _js = await BenchChild.start("grpc-js-server.ts", { port: jsPort });
  await using system = await startStandaloneProcess({ MILLRACE_LOG_LEVEL: "error" });
  await system.rest.submit({ id: "bench", type: "audit", payload: { json: { type: "user.login" } }, waitMs: 5000 });
  await system.rest.jobIn("bench", "JOB_STATE_SUCCEEDED");

  const known = { authorization: `Bearer ${system.token}` };
  const json = { ...jsonType, ...known };
  const framed = { ...framedType, ...known };
  const loads: Record<string, Load> = {
    echo: {
      url: `http://127.0.0.1:${echoPort}/`,
      body: "{}",
      headers: jsonType,
      http: 1,
      requests: sizes.requests,
      connections: 50,
    },
    connectNode: {
      url: `http://127.0.0.1:${nodePort}${method}`,
      body: "{}",
      headers: jsonType,
      http: 1,
      requests: sizes.requests / 4,
      connections: 50,
    },
    rest: {
      url: `${system.httpUrl}/api/v1/system/info`,
      headers: known,
      http: 1,
      requests: sizes.requests,
      connections: 50,
    },
    connect: {
      url: `${system.httpUrl}${method}`,
      body: "{}",
      headers: json,
      http: 1,
      requests: sizes.requests,
      connections: 50,
    },
    grpcJs: {
      url: `http://127.0.0.1:${jsPort}${method}`,
      body: grpcFrame(new Uint8Array(0)),
      headers: framedType,
      http: 2,
      requests: sizes.requests / 2,
      connections: 50,
    },
    grpc: {
      url: `http://${system.grpcAddress}${method}`,
      body: grpcFrame(new Uint8Array(0)),
      headers: framed,
      http: 2,
      requests: sizes.requests / 2,
      connections: 50,
    },
    getJob: {
      url: `${system.httpUrl}/api/v1/jobs/bench`,
      headers: known,
      http: 1,
      requests: sizes.requests / 10,
      connections: 50,
    },
    getJobGrpc: {
      url: `http://${system.grpcAddress}/millrace.jobs.v1.JobService/GetJob`,
      body: grpcFrame(toBinary(GetJobRequestSchema, create(GetJobRequestSchema, { id: "bench" }))),
      headers: framed,
      http: 2,
      requests: sizes.requests / 10,
      connections: 50,
    },
    submitJob: {
      url: `${system.httpUrl}/api/v1/jobs`,
      body: JSON.stringify({ type: "audit", payload: { json: { type: "user.login", actor: "ada" } } }),
      headers: json,
      http: 1,
      requests: sizes.requests / 10,
      connections: 50,
    },
  };
  const rates: Record<string, number> = {};
  for (let round = 0; round < 3; round++) {
    for (const [name, load] of Object.entries(loads)) {
      rates[name] = Math.max(rates[name] ?? 0, (await runLoad(load)).perSecond);
    }
  }
  const echo = { name: "bare Node http echo", value: rates["echo"]!, atLeast: 0.45 };
  const connectNode = { name: "connect-node's own handler", value: rates["connectNode"]!, atLeast: 2.5 };
  return [
    {
      what: "REST GetInfo, whole system in one process",
      value: rates["rest"]!,
      unit: "calls/s",
      against: [echo, connectNode],
    },
    { what: "Connect GetInfo", value: rates["connect"]!, unit: "calls/s", against: [echo, connectNode] },
    {
      what: "gRPC GetInfo",
      value: rates["grpc"]!,
      unit: "calls/s",
      against: [{ name: "@grpc/grpc-js echo server", value: rates["grpcJs"]!, atLeast: 0.7 }],
    },
    { what: "REST GetJob", value: rates["getJob"]!, unit: "calls/s" },
    { what: "gRPC GetJob", value: rates["getJobGrpc"]!, unit: "calls/s" },
    { what: "REST SubmitJob", value: rates["submitJob"]!, unit: "calls/s" },
  ];
}
