import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { fileURLToPath } from "node:url";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { JobService, MillraceError, SystemService } from "@millrace/protocol";
import { bindService, createDirectTransport, createPipeline } from "@millrace/rpc";
import { afterAll, expect, test } from "vitest";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { readGatewayConfig } from "./config.ts";
import { startGateway } from "./start-gateway.ts";

const started: string[] = [];
let onStarted = (_id: string) => {};
let release = () => {};

// A small control: what a client of the gateway would find behind it.
const jobs: Partial<ServiceImpl<typeof JobService>> = {
  async submitJob(request) {
    if (request.type === "held") {
      started.push(request.id);
      const held = new Promise<void>((resolve) => (release = resolve));
      onStarted(request.id);
      await held;
    }
    return { id: request.id };
  },
  getJob(request) {
    if (request.id === "missing")
      throw new MillraceError("not_found", "no job missing", { details: [{ field: "id", reason: "unknown" }] });
    return { job: { id: request.id } };
  },
  async *watchJob(request) {
    for (let n = Number(request.resumeAfter || "0") + 1; n <= 3; n += 1) {
      yield { position: String(n), update: { case: "event", value: { jobId: request.id } } };
    }
  },
  async streamJobs(requests) {
    let accepted = 0n;
    for await (const _request of requests) accepted += 1n;
    return { accepted };
  },
};

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const control = createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] });
const config = { ...readGatewayConfig(), httpPort: 0, grpcPort: 0 };
const deps = {
  transport: createDirectTransport(control),
  metrics: createMetrics(),
  health: new Health(),
  logger: createLogger({ name: "gateway", level: "silent" }),
};
const gateway = stack.use(await startGateway(config, deps));

const protoDir = fileURLToPath(new URL("../../../proto/", import.meta.url));
const load = (file: string) => grpc.loadPackageDefinition(loadSync(file, { includeDirs: [protoDir], keepCase: false }));
type GrpcCall = (
  request: object,
  done: (error: grpc.ServiceError | null, answer: Record<string, unknown>) => void,
) => void;

function grpcClient(file: string, path: string): Record<string, unknown> & grpc.Client {
  let node: unknown = load(file);
  for (const part of path.split(".")) node = (node as Record<string, unknown>)[part];
  const Client = node as new (
    address: string,
    credentials: grpc.ChannelCredentials,
  ) => Record<string, unknown> & grpc.Client;
  return new Client(gateway.grpcAddress, grpc.credentials.createInsecure());
}

function callGrpc(
  client: Record<string, unknown> & grpc.Client,
  method: string,
  request: object,
): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    (client[method] as GrpcCall).call(client, request, (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
}

test("Connect and gRPC-web clients call, stream and get errors", async () => {
  for (const transport of [
    createConnectTransport({ baseUrl: gateway.httpUrl, httpVersion: "1.1" }),
    createConnectTransport({ baseUrl: gateway.httpUrl, httpVersion: "1.1", useHttpGet: true, useBinaryFormat: true }),
    createGrpcWebTransport({ baseUrl: gateway.httpUrl }),
  ]) {
    const client = createClient(JobService, transport);
    expect((await client.submitJob({ type: "t", id: "a" })).id).toBe("a");
    expect((await createClient(SystemService, transport).getInfo({})).name).toBe("millrace");
    const missing = await client.getJob({ id: "missing" }).catch((error: unknown) => ConnectError.from(error));
    expect(missing).toMatchObject({ code: Code.NotFound, rawMessage: "no job missing" });
    const positions: string[] = [];
    for await (const update of client.watchJob({ id: "a", resumeAfter: "1" })) positions.push(update.position);
    expect(positions).toEqual(["2", "3"]);
  }
});

test("gRPC-web in text, unary and stream", async () => {
  const call = async (method: string, message: Uint8Array) => {
    const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.byteLength]), message]);
    const response = await fetch(`${gateway.httpUrl}/millrace.jobs.v1.JobService/${method}`, {
      method: "POST",
      headers: { "content-type": "application/grpc-web-text" },
      body: frame.toString("base64"),
    });
    const text = await response.text();
    return Buffer.concat((text.match(/[^=]+=*/g) ?? []).map((part) => Buffer.from(part, "base64"))).toString("latin1");
  };
  const id = Buffer.from("\n\x01a");
  expect(await call("GetJob", id)).toContain("grpc-status: 0");
  const stream = await call("WatchJob", id);
  expect(stream).toContain("\n\x013");
  expect(stream).toContain("grpc-status: 0");
  expect(await call("GetJob", Buffer.from("\n\x07missing"))).toContain("grpc-status: 5");
});

test("@grpc/grpc-js with the .proto loaded at run time", async () => {
  const client = grpcClient("millrace/jobs/v1/job_service.proto", "millrace.jobs.v1.JobService");
  expect(await callGrpc(client, "submitJob", { type: "t", id: "g1" })).toMatchObject({ id: "g1" });
  const missing = await callGrpc(client, "getJob", { id: "missing" }).catch(
    (error: unknown) => error as grpc.ServiceError,
  );
  expect(missing).toMatchObject({ code: grpc.status.NOT_FOUND, details: "no job missing" });
  const watch = (client["watchJob"] as (request: object) => grpc.ClientReadableStream<{ position: string }>).call(
    client,
    { id: "g1" },
  );
  const positions: string[] = [];
  for await (const update of watch) positions.push((update as { position: string }).position);
  expect(positions).toEqual(["1", "2", "3"]);
  const total = await new Promise<Record<string, unknown>>((resolve, reject) => {
    const upload = (
      client["streamJobs"] as (
        done: (error: Error | null, answer: Record<string, unknown>) => void,
      ) => grpc.ClientWritableStream<object>
    ).call(client, (error, answer) => (error === null ? resolve(answer) : reject(error)));
    for (let n = 0; n < 50; n += 1) upload.write({ type: "t" });
    upload.end();
  });
  expect(String(total["accepted"])).toBe("50");
  client.close();
});

test("gRPC health and reflection", async () => {
  const health = grpcClient("grpc/health/v1/health.proto", "grpc.health.v1.Health");
  expect(await callGrpc(health, "check", { service: "millrace.jobs.v1.JobService" })).toEqual({ status: 1 });
  await expect(callGrpc(health, "check", { service: "none" })).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
  health.close();
  const reflection = grpcClient("grpc/reflection/v1/reflection.proto", "grpc.reflection.v1.ServerReflection");
  // v1alpha has the same messages: the v1 client's method is called under the old path.
  const definition = (
    load("grpc/reflection/v1/reflection.proto") as Record<
      string,
      Record<string, Record<string, Record<string, unknown>>>
    >
  )["grpc"]?.["reflection"]?.["v1"]?.["ServerReflection"] as unknown as {
    service: Record<string, grpc.MethodDefinition<object, Record<string, unknown>>>;
  };
  const method = definition.service["ServerReflectionInfo"];
  if (method === undefined) throw new Error("no reflection method");
  for (const path of [method.path, method.path.replace(".v1.", ".v1alpha.")]) {
    const stream = reflection.makeBidiStreamRequest(path, method.requestSerialize, method.responseDeserialize);
    const answers: Record<string, unknown>[] = [];
    const done = (async () => {
      for await (const answer of stream) answers.push(answer as Record<string, unknown>);
    })();
    for (const request of [
      { listServices: "" },
      { fileContainingSymbol: "millrace.jobs.v1.JobService.GetJob" },
      { fileByFilename: "no.proto" },
    ]) {
      stream.write(request);
    }
    stream.end();
    await done;
    expect(JSON.stringify(answers[0]?.["listServicesResponse"])).toContain('"millrace.jobs.v1.JobService"');
    const files =
      (answers[1]?.["fileDescriptorResponse"] as { fileDescriptorProto: Buffer[] } | undefined)?.fileDescriptorProto ??
      [];
    expect(files[0]?.toString("latin1")).toContain("millrace/jobs/v1/job_service.proto");
    expect(answers[2]?.["errorResponse"]).toMatchObject({ errorCode: 5 });
  }
  reflection.close();
});

test("REST, the API's description, the page and the ops paths", async () => {
  expect(await (await fetch(`${gateway.httpUrl}/api/v1/system/info`)).json()).toMatchObject({ name: "millrace" });
  const events = await fetch(`${gateway.httpUrl}/api/v1/jobs/a/events`, { headers: { "last-event-id": "2" } });
  expect((await events.text()).match(/^id: \d$/gm)).toEqual(["id: 3"]);
  const spec = await (await fetch(`${gateway.httpUrl}/openapi.json`)).json();
  expect(spec.openapi).toBe("3.1.0");
  expect(spec.paths["/api/v1/jobs/{id}:cancel"].post.operationId).toBe("JobService.CancelJob");
  expect(spec.components.schemas["millrace.jobs.v1.SubmitJobRequest"].properties.tags.items.maxLength).toBe(64);
  // Every reference leads somewhere.
  const missing = [...JSON.stringify(spec).matchAll(/"#\/components\/(\w+)\/([\w.]+)"/g)].filter(
    ([, kind, name]) => spec.components[kind ?? ""]?.[name ?? ""] === undefined,
  );
  expect(missing).toEqual([]);
  expect(await (await fetch(`${gateway.httpUrl}/docs`)).text()).toContain("<!doctype html>");
  expect(await (await fetch(`${gateway.httpUrl}/health/ready`)).json()).toEqual({ status: "ready", missing: [] });
  expect(await (await fetch(`${gateway.httpUrl}/metrics`)).text()).toContain(
    'millrace_rpc_calls_total{method="SystemService.GetInfo",door="rest",code="ok"} 1',
  );
  expect((await fetch(`${gateway.httpUrl}/nothing`)).status).toBe(404);
});

test("a module larger than an ordinary request may be uploaded", async () => {
  const upload = await fetch(`${gateway.httpUrl}/api/v1/plugins`, {
    method: "POST",
    body: JSON.stringify({
      manifest: { name: "p", version: "1.0.0", handlers: [{ type: "t", export: "run" }] },
      module: Buffer.alloc(10_000_000).toString("base64"),
    }),
  });
  expect(upload.status).toBe(501); // past every limit, to a control that has no plugins
  const job = await fetch(`${gateway.httpUrl}/api/v1/jobs`, {
    method: "POST",
    body: `{"type":"${"x".repeat(9_000_000)}"}`,
  });
  expect(job.status).toBe(413);
});

test("stopping lets running calls finish and takes no new ones", async () => {
  const own = await startGateway(config, deps);
  const reached = new Promise<string>((resolve) => (onStarted = resolve));
  const call = fetch(`${own.httpUrl}/api/v1/jobs`, { method: "POST", body: '{"type":"held","id":"h"}' });
  expect(await reached).toBe("h");
  const stopped = own[Symbol.asyncDispose]();
  await expect(fetch(`${own.httpUrl}/api/v1/system/info`)).rejects.toThrow();
  release();
  expect(await (await call).json()).toEqual({ id: "h" });
  await stopped;
});

test("configuration names every variable it cannot read", () => {
  expect(
    readGatewayConfig({ env: { MILLRACE_HTTP_PORT: "0", MILLRACE_ALLOW_ORIGINS: "https://a.b, loopback" } }),
  ).toMatchObject({
    httpPort: 0,
    allowOrigins: ["https://a.b", "loopback"],
  });
  expect(() => readGatewayConfig({ env: { MILLRACE_HTTP_PORT: "x", MILLRACE_DRAIN_MS: "-1" } })).toThrow(
    /MILLRACE_HTTP_PORT[^]*MILLRACE_DRAIN_MS/,
  );
});

test("without identity a page that comes by a name of its own is not served, whatever its name was pointed at", async () => {
  const { hostname, port } = new URL(gateway.httpUrl);
  const statusFor = async (host: string, from = port): Promise<number | undefined> => {
    const request = get({ hostname, port: from, path: "/api/v1/jobs/any", headers: { host } });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "app.localhost", "[::1]:1", "gateway"]) {
    expect([host, await statusFor(host)]).toEqual([host, 200]);
  }
  for (const host of [`evil.example:${port}`, "evil.example", "127.0.0.1.evil.example", "localhost."]) {
    expect([host, await statusFor(host)]).toEqual([host, 403]);
  }
  await using proxied = await startGateway({ ...config, allowOrigins: ["https://jobs.example"] }, deps);
  expect(await statusFor("jobs.example", new URL(proxied.httpUrl).port)).toBe(200);
});
