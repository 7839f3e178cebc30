import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BodyWatch } from "./body-watch.ts";
import { listenDoor, listenHttp2, testPipeline, type Listening } from "./fixture.ts";

const refused: string[] = [];
const limits = { timeoutMs: 100, maxHeldBytes: 300_000, onRefused: (reason: string) => void refused.push(reason) };
const headers = { "x-content-type-options": "nosniff" };
const watch = new BodyWatch(limits);
let http1: Listening;
let http2: Listening;

beforeAll(async () => {
  const pipeline = testPipeline({ limits: { readMaxBytes: 200_000 } });
  http1 = await listenDoor(pipeline, { bodies: watch, headers });
  http2 = await listenHttp2(pipeline, { bodies: watch, headers });
});
afterAll(async () => {
  await http1[Symbol.asyncDispose]();
  await http2[Symbol.asyncDispose]();
  watch[Symbol.dispose]();
});

/** Sends some text and resolves with all that came back until the connection was closed. */
function rawExchange(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(http1.port, "127.0.0.1", () => socket.write(text));
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
  });
}

function rawStream(path: string, type: string, body: Uint8Array): Promise<Record<string, unknown>> {
  return new Promise((resolve) => {
    const session = connectHttp2(http2.url);
    const seen: Record<string, unknown> = {};
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": type });
    stream.on("response", (head) => Object.assign(seen, head));
    stream.on("trailers", (lines) => Object.assign(seen, lines));
    stream.on("error", () => {});
    stream.resume();
    stream.on("close", () => {
      seen["reset"] = stream.rstCode;
      session.close();
      resolve(seen);
    });
    stream.write(body);
  });
}

const method = "/millrace.jobs.v1.JobService/SubmitJob";
const slowHead = (path: string, type: string, more = "") =>
  `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: ${type}\r\ncontent-length: 1000\r\n${more}\r\n{"type":`;

test("a body that does not come is refused, and its connection cut", async () => {
  const rest = await rawExchange(slowHead("/api/v1/jobs", "application/json"));
  expect(rest).toContain("504 Gateway Timeout");
  expect(rest).toContain('"code":"deadline_exceeded"');
  expect(rest.toLowerCase()).toContain("connection: close");
  const connectJson = await rawExchange(slowHead(method, "application/json"));
  expect(connectJson).toContain("the request came too slowly");
  // Connect's own handler reads these.
  const packed = await rawExchange(slowHead(method, "application/json", "content-encoding: gzip\r\n"));
  expect(packed).toContain("the request came too slowly");
  const grpc = await rawStream(method, "application/grpc", Buffer.from([0, 0, 0, 0, 9, 1]));
  expect(grpc).toMatchObject({ "grpc-status": "4" });
  const compressed = await rawStream(method, "application/grpc+unknown", Buffer.from([0, 0, 0, 0, 9, 1]));
  expect(compressed["reset"]).toBeTypeOf("number");
});

test("no more is held of all bodies together than may be", async () => {
  // Two that have not ended keep what a third would need.
  const head = `POST /api/v1/jobs HTTP/1.1\r\nhost: a\r\ncontent-length: 190000\r\n\r\n`;
  const answers = await Promise.all([1, 2, 3].map(() => rawExchange(head + "x".repeat(140_000))));
  expect(answers.filter((answer) => answer.includes("503 Service Unavailable"))).toHaveLength(1);
  expect(answers.filter((answer) => answer.includes("504 Gateway Timeout"))).toHaveLength(2);
  // What they held is free again.
  const body = JSON.stringify({ type: "t", id: "a", correlationId: "x" });
  expect((await fetch(`${http1.url}/api/v1/jobs`, { method: "POST", body })).status).toBe(200);
});

test("a gzip bomb is a refusal at every door", async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000, 0x20));
  refused.length = 0;
  const send = (path: string, more: Record<string, string>, body: Uint8Array) =>
    fetch(`${http1.url}${path}`, { method: "POST", headers: more, body: Uint8Array.from(body) });
  const rest = await send("/api/v1/jobs", { "content-encoding": "gzip", "content-type": "application/json" }, bomb);
  expect(rest.status).toBe(400);
  expect(await rest.text()).toContain("a body cannot be packed by REST");
  const connected = await send(method, { "content-encoding": "gzip", "content-type": "application/json" }, bomb);
  expect(connected.status).toBe(429);
  expect(await connected.text()).toContain("readMaxBytes");
  const frame = Buffer.alloc(5);
  frame[0] = 1;
  frame.writeUInt32BE(bomb.byteLength, 1);
  const framed = Buffer.concat([frame, bomb]);
  const web = await send(method, { "content-type": "application/grpc-web+proto", "grpc-encoding": "gzip" }, framed);
  expect(await web.text()).toMatch(/grpc-status: 8/);
  const stream = await new Promise<string>((resolve) => {
    const session = connectHttp2(http2.url);
    const request = session.request({
      ":method": "POST",
      ":path": method,
      "content-type": "application/grpc",
      "grpc-encoding": "gzip",
    });
    request.on("response", (head) => head["grpc-status"] !== undefined && resolve(String(head["grpc-status"])));
    request.on("trailers", (lines) => resolve(String(lines["grpc-status"])));
    request.on("close", () => session.close());
    request.resume();
    request.end(framed);
  });
  expect(stream).toBe("8");
  expect(refused).toEqual(["body_size", "body_size", "body_size"]);
});

test("answers for browsers carry the headers that protect them", async () => {
  for (const path of ["/api/v1/system/info", "/nothing", "/api/v1/jobs/missing"]) {
    const answer = await fetch(`${http1.url}${path}`);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    await answer.body?.cancel();
  }
  const grpc = await rawStream(method, "application/grpc", Buffer.from([0, 0, 0, 0, 9, 1]));
  expect(grpc["x-content-type-options"]).toBeUndefined();
});
