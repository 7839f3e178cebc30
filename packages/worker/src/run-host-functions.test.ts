import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  EventKind,
  headerNames,
  InvokePluginRequestSchema,
  InvokePluginResponseSchema,
  PluginLogBatchSchema,
  PluginStatsSchema,
  RecordingSchema,
  type PluginLogBatch,
  type PluginStats,
} from "@millrace/protocol";
import { createMetrics } from "@millrace/service-kit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hostCallsModule, PluginFixture } from "./plugin-fixture.ts";
import { startWorker, type Worker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

const metrics = createMetrics();
const decoder = new TextDecoder();
const exports = ["context", "fetch", "remember", "recall", "secret", "publish", "submit", "progress", "fetch_and_spin"];

let world: WorkerFixture;
let worker: Worker;
let plugins: PluginFixture;
let server: Server;
let port: number;
/** Requests that the server has not answered yet. */
const held: (() => void)[] = [];
const stats: PluginStats[] = [];
const logs: PluginLogBatch[] = [];

beforeAll(async () => {
  process.env["MILLRACE_SECRET_TOKEN"] = "sesame";
  server = createServer((request, response) => {
    const answer = (): void => void response.end(`you asked for ${request.url}`);
    if (request.url === "/hold") held.push(answer);
    else answer();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" && address !== null ? address.port : 0;
  world = await WorkerFixture.start();
  world.bus.subscribe("stats.plugin.asks", {}, ({ data }) => stats.push(fromBinary(PluginStatsSchema, data.slice())));
  world.bus.subscribe("logs.plugin.asks", {}, ({ data }) => logs.push(fromBinary(PluginLogBatchSchema, data.slice())));
  plugins = new PluginFixture(world);
  worker = await startWorker({
    queues: ["default"],
    natsUrl: world.nats.url,
    executors: 1,
    metrics,
    drainTimeoutMs: 2000,
    pluginHttpPrivate: [`localhost:${port}`],
  });
  const handlers = exports.map((name) => ({ type: name, export: name }));
  const granted = {
    http: [`http://localhost:${port}`, "http://169.254.169.254"],
    kvBytes: 1000n,
    secrets: ["token"],
    events: ["order.*"],
    jobs: ["context"],
  };
  const limits = { timeoutMs: 30_000, fuel: 1_000_000_000_000_000n };
  const manifest = { name: "asks", version: "1.0.0", handlers, limits, capabilities: granted };
  const module = await hostCallsModule();
  await plugins.install(module, { manifest, granted });
  const bare = handlers.map(({ type, export: name }) => ({ type: `bare_${type}`, export: name }));
  await plugins.install(module, { manifest: { ...manifest, name: "bare", handlers: bare } });
});
afterAll(async () => {
  for (const answer of held) answer();
  server.closeAllConnections();
  server.close();
  await worker[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const oneAttempt: [string, string][] = [[headerNames.maxAttempts, "1"]];

async function run(type: string, id: string, input = ""): Promise<string> {
  await world.submit("normal", "default", type, id, input, oneAttempt);
  const event = await world.end(id);
  expect(event.errorMessage).toBe("");
  return decoder.decode(event.result);
}

test("a plugin is told of its job", async () => {
  const headers: [string, string][] = [
    [headerNames.tags, "a,b"],
    [headerNames.correlationId, "c-1"],
  ];
  await world.submit("normal", "default", "context", "context-1", "", headers);
  const { result, plugin, fuel } = await world.end("context-1");
  expect(JSON.parse(decoder.decode(result))).toMatchObject({
    jobId: "context-1",
    attempt: 1,
    tags: ["a", "b"],
    queue: "default",
    correlationId: "c-1",
  });
  expect(plugin).toBe("asks@1.0.0");
  expect(fuel).toBeGreaterThan(0);
});

test("what it asks for is done by the worker", async () => {
  const request = JSON.stringify({ method: "GET", url: `http://localhost:${port}/here` });
  expect(await run("fetch", "fetch-1", request)).toBe("you asked for /here");
  await run("remember", "remember-1", "a key");
  expect(await run("recall", "recall-1", "a key")).toBe("a key");
  expect(await run("publish", "publish-1", "order.paid")).not.toBe("");
  const id = await run("submit", "submit-1", JSON.stringify({ type: "context" }));
  expect(JSON.parse(decoder.decode((await world.end(id)).result))).toMatchObject({ correlationId: "submit-1" });
});

test("progress is told while the job runs", async () => {
  await run("progress", "progress-1", "nearly");
  const started = world.events.filter(({ jobId, kind }) => jobId === "progress-1" && kind === EventKind.STARTED);
  expect(started.map(({ reason }) => reason)).toContain("42 % nearly");
});

test("what was not granted fails the job, and says how to grant it", async () => {
  await world.submit("normal", "default", "bare_recall", "bare-1", "k", oneAttempt);
  const event = await world.end("bare-1");
  expect(event).toMatchObject({ kind: EventKind.DEAD, errorCode: "HOST_DENIED" });
  expect(event.errorMessage).toMatch(/kv/);
  const metadata = JSON.stringify({ method: "GET", url: "http://169.254.169.254/latest" });
  await world.submit("normal", "default", "fetch", "metadata-1", metadata, oneAttempt);
  expect(await world.end("metadata-1")).toMatchObject({ kind: EventKind.DEAD, errorCode: "HOST_DENIED" });
});

test("a secret stays out of the log", async () => {
  await run("secret", "secret-1", "token");
  const lines = () => logs.flatMap(({ entries }) => entries).filter(({ jobId }) => jobId === "secret-1");
  await expect.poll(lines).toMatchObject([{ level: "info", text: "[secret TOKEN]" }]);
});

test("calls that wait do not hold their executor", async () => {
  const request = JSON.stringify({ method: "GET", url: `http://localhost:${port}/hold` });
  const ids = Array.from({ length: 200 }, (_, i) => `hold-${i}`);
  await Promise.all(ids.map((id) => world.submit("normal", "default", "fetch", id, request, oneAttempt)));
  await expect.poll(() => held.length, { timeout: 20_000 }).toBe(200);
  expect(worker.status().suspended).toBe(200);
  expect(await run("remember", "beside-1", "b")).toBe("");
  for (const answer of held.splice(0)) answer();
  for (const id of ids) expect(await world.end(id)).toMatchObject({ kind: EventKind.SUCCEEDED });
  expect(worker.status().suspended).toBe(0);
});

test("invocations of one plugin that wait leave room for those of others", async () => {
  const encoder = new TextEncoder();
  const invoke = async (name: string, exportName: string, input = "") => {
    const fields = { name, export: exportName, input: encoder.encode(input) };
    const data = toBinary(InvokePluginRequestSchema, create(InvokePluginRequestSchema, fields));
    const answer = await world.bus.request("invoke.plugin", data, { timeoutMs: 30_000 });
    return fromBinary(InvokePluginResponseSchema, answer.data.slice());
  };
  const request = JSON.stringify({ method: "GET", url: `http://localhost:${port}/hold` });
  const waiting = Array.from({ length: 256 }, () => invoke("asks", "fetch", request));
  await expect.poll(() => held.length, { timeout: 20_000 }).toBe(256);
  expect((await invoke("asks", "context")).error?.message).toBe("this worker runs 256 invocations of asks already");
  expect((await invoke("bare", "context")).error).toBeUndefined();
  for (const answer of held.splice(0)) answer();
  for (const { error } of await Promise.all(waiting)) expect(error).toBeUndefined();
});

test("a call that waits is cancelled, and its time runs", async () => {
  const request = JSON.stringify({ method: "GET", url: `http://localhost:${port}/hold` });
  await world.submit("normal", "default", "fetch", "wait-1", request, oneAttempt);
  await expect.poll(() => held.length, { timeout: 20_000 }).toBe(1);
  world.bus.publish("cmd.cancel", new TextEncoder().encode("wait-1"));
  expect(await world.end("wait-1")).toMatchObject({ kind: EventKind.CANCELLED });
  await world.submit("normal", "default", "fetch", "wait-2", request, [...oneAttempt, [headerNames.timeoutMs, "100"]]);
  expect(await world.end("wait-2")).toMatchObject({ errorCode: "TIMED_OUT", breachResource: "time", breachLimit: 100 });
  for (const answer of held.splice(0)) answer();
});

test("an executor that hangs is replaced, and those that waited in it begin again", async () => {
  const request = (path: string) => JSON.stringify({ method: "GET", url: `http://localhost:${port}${path}` });
  await world.submit("normal", "default", "fetch", "waits-1", request("/hold"));
  await expect.poll(() => held.length, { timeout: 20_000 }).toBe(1);
  const kills = worker.status().executorKills;
  await world.submit("normal", "default", "fetch_and_spin", "hangs-1", request("/now"), [
    ...oneAttempt,
    [headerNames.timeoutMs, "300"],
  ]);
  const event = await world.end("hangs-1");
  expect(event).toMatchObject({ kind: EventKind.DEAD, errorCode: "TIMED_OUT", breachResource: "time" });
  expect(event.breachFigure).toBeLessThan(300 + 500);
  expect(worker.status().executorKills).toBe(kills + 1);
  await expect.poll(() => held.length, { timeout: 20_000 }).toBe(2);
  for (const answer of held.splice(0)) answer();
  expect(await world.end("waits-1")).toMatchObject({ kind: EventKind.SUCCEEDED, attempt: 1 });
});

test("a failed call is recorded with what it learned, and counted", async () => {
  const metadata = JSON.stringify({ method: "GET", url: "http://169.254.169.254/" });
  await world.submit("normal", "default", "fetch", "record-1", metadata, oneAttempt);
  await world.end("record-1");
  await expect.poll(() => world.bus.kv("recordings").get("record-1")).toBeDefined();
  const entry = await world.bus.kv("recordings").get("record-1");
  const recording = fromBinary(RecordingSchema, entry?.value ?? new Uint8Array());
  expect(recording).toMatchObject({ export: "fetch", truncated: false, error: { code: "HOST_DENIED", attempt: 1 } });
  expect(recording.answers.map((answer) => answer.function)).toContain("http.request");
  expect(decoder.decode(recording.input)).toBe(metadata);
  const denied = () => stats.reduce((sum, { failuresByCode }) => sum + Number(failuresByCode["HOST_DENIED"] ?? 0n), 0);
  await expect.poll(denied).toBeGreaterThan(0);
  expect(stats[0]).toMatchObject({ name: "asks", version: "1.0.0" });
});

test("calls are counted", async () => {
  const { text } = await metrics.expose();
  expect(text).toContain('millrace_plugin_calls_total{plugin="asks",code="ok"}');
  expect(text).toContain('millrace_plugin_host_calls_total{function="kv.get",outcome="ok"}');
  expect(text).toContain('millrace_plugin_host_calls_total{function="http.request",outcome="denied"}');
  expect(text).toMatch(/millrace_plugin_fuel_total\{plugin="asks"\} [1-9]/);
  expect(text).toContain("millrace_plugin_calls_waiting 0");
  expect(text).toContain("millrace_executor_kills_total 1");
});
