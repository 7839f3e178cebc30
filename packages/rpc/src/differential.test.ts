// Holds the lean unary handler to the answers of connect-node's own, byte for byte.
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { request as httpRequest } from "node:http";
import { gzipSync } from "node:zlib";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { SubmitJobRequestSchema } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectNodesOwn, listenDoor, listenHttp1, listenHttp2, testPipeline, type Listening } from "./fixture.ts";

const limits = { readMaxBytes: 2048, maxTimeoutMs: 60_000 };
const submitPath = "/millrace.jobs.v1.JobService/SubmitJob";
const infoPath = "/millrace.system.v1.SystemService/GetInfo";
let lean: Listening;
let theirs: Listening;
let leanHttp2: Listening;
let theirsHttp2: Listening;
beforeAll(async () => {
  lean = await listenDoor(testPipeline({ limits }));
  theirs = await listenHttp1(connectNodesOwn(testPipeline({ limits })));
  leanHttp2 = await listenHttp2(testPipeline({ limits }));
  theirsHttp2 = await listenHttp2(connectNodesOwn(testPipeline({ limits })) as never);
});
afterAll(async () => {
  for (const server of [lean, theirs, leanHttp2, theirsHttp2]) await server[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number | undefined;
  readonly headers: Record<string, unknown>;
  readonly body: string;
  readonly trailers: Record<string, unknown>;
}

// Hop-by-hop and per-call headers are each server's own; x-request-id is what Millrace adds.
const ignored = new Set(["date", "connection", "keep-alive", "x-request-id", "transfer-encoding", "content-length"]);

function clean(headers: IncomingHttpHeaders | NodeJS.Dict<string | string[]>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !ignored.has(name) && !name.startsWith(":"))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

interface Case {
  readonly name: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;
}

function call1(server: Listening, { path, headers, body }: Case): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(server.url + path, { method: "POST", headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          headers: clean(response.headers),
          body: Buffer.concat(chunks).toString("latin1"),
          trailers: {},
        }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

function call2(server: Listening, { path, headers, body }: Case): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(server.url);
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    let head: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on("response", (received) => (head = received));
    stream.on("trailers", (received) => (trailers = received));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => {
      session.close();
      resolve({
        status: Number(head[":status"]),
        headers: clean(head),
        body: Buffer.concat(chunks).toString("latin1"),
        trailers: clean(trailers),
      });
    });
    stream.end(body);
  });
}

function frame(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([head, bytes]);
}

const kinds = ["ok", "boom", "busy", "taken", "rule", "huge", "meta", "metaerror", "no spaces", "ünïcode"];
const messages = kinds.map((type) =>
  create(SubmitJobRequestSchema, { type, queue: type === "ok" ? "twice" : "q", tags: ["a"] }),
);
const large = create(SubmitJobRequestSchema, { type: "t", correlationId: "x".repeat(4000) });

function connectCases(): Case[] {
  const json = { "content-type": "application/json" };
  const proto = { "content-type": "application/proto" };
  const on = (name: string, headers: Record<string, string>, body: Uint8Array | string, path = submitPath): Case => ({
    name: `connect ${name}`,
    path,
    headers,
    body: Buffer.from(body as string),
  });
  return [
    ...messages.map((message) => on(`json ${message.type}`, json, toJsonString(SubmitJobRequestSchema, message))),
    ...messages.map((message) => on(`proto ${message.type}`, proto, toBinary(SubmitJobRequestSchema, message))),
    on("charset", { "content-type": "application/json; charset=utf-8" }, '{"type":"t"}'),
    on("unknown field", json, '{"type":"t","colour":1}'),
    on("malformed json", json, '{"type":'),
    on("wrong type", json, '{"type":7}'),
    on("empty json body", json, ""),
    on("empty proto", proto, ""),
    on("too large", json, toJsonString(SubmitJobRequestSchema, large)),
    on("timeout", { ...json, "connect-timeout-ms": "5000" }, '{"type":"t"}'),
    on("bad timeout", { ...json, "connect-timeout-ms": "soon" }, '{"type":"t"}'),
    on("too long a timeout", { ...json, "connect-timeout-ms": "90000" }, '{"type":"t"}'),
    on("unknown encoding", { ...json, "content-encoding": "squash" }, '{"type":"t"}'),
    on("packed", { ...json, "content-encoding": "gzip" }, gzipSync('{"type":"t"}')),
    on("packed, and is not", { ...json, "content-encoding": "gzip" }, '{"type":"t"}'),
    on("info json", json, "{}", infoPath),
    on("info proto", proto, "", infoPath),
  ];
}

function grpcCases(base: string): Case[] {
  const type = { "content-type": `${base}+proto`, te: "trailers" };
  const on = (name: string, body: Uint8Array, headers: Record<string, string> = type, path = submitPath): Case => ({
    name: `${base} ${name}`,
    path,
    headers,
    body,
  });
  const message = toBinary(SubmitJobRequestSchema, create(SubmitJobRequestSchema, { type: "t" }));
  return [
    ...messages.map((one) => on(one.type, frame(toBinary(SubmitJobRequestSchema, one)))),
    on("bare type", frame(message), { ...type, "content-type": base }),
    on("json", frame(Buffer.from('{"type":"t"}')), { ...type, "content-type": `${base}+json` }),
    on("no message", new Uint8Array(0)),
    on("two messages", Buffer.concat([frame(message), frame(message)])),
    on("cut short", frame(message).subarray(0, 6)),
    on("cut in the prefix", frame(message).subarray(0, 3)),
    on("compressed without encoding", frame(message, 1)),
    on("too large", frame(toBinary(SubmitJobRequestSchema, large))),
    on("timeout", frame(message), { ...type, "grpc-timeout": "5S" }),
    on("bad timeout", frame(message), { ...type, "grpc-timeout": "soon" }),
    on("too long a timeout", frame(message), { ...type, "grpc-timeout": "2H" }),
    on("unknown encoding", frame(message), { ...type, "grpc-encoding": "squash" }),
    on("info", frame(new Uint8Array(0)), type, infoPath),
  ];
}

const overHttp1 = [...connectCases(), ...grpcCases("application/grpc-web")];
const overHttp2 = [...overHttp1, ...grpcCases("application/grpc")];

test.each(overHttp1.map((one) => [one.name, one] as const))("HTTP/1.1 %s", async (_, one) => {
  expect(await call1(lean, one)).toEqual(await call1(theirs, one));
});

test.each(overHttp2.map((one) => [one.name, one] as const))("HTTP/2 %s", async (_, one) => {
  expect(await call2(leanHttp2, one)).toEqual(await call2(theirsHttp2, one));
});

// The answers that differ on purpose. Bytes that are no message are the caller's mistake, as malformed JSON is, and connect-node
// calls them internal.
const noMessage = Buffer.from([0x0a, 0x7f, 0x01]);

test("malformed protobuf is an invalid argument", async () => {
  const connect = { name: "", path: submitPath, headers: { "content-type": "application/proto" }, body: noMessage };
  expect(await call1(lean, connect)).toMatchObject({ status: 400, body: expect.stringContaining("invalid_argument") });
  expect(await call2(leanHttp2, connect)).toMatchObject({ status: 400 });
  const headers = { "content-type": "application/grpc+proto", te: "trailers" };
  const grpc = { name: "", path: submitPath, headers, body: frame(noMessage) };
  const answer = await call2(leanHttp2, grpc);
  expect({ ...answer.headers, ...answer.trailers }).toMatchObject({ "grpc-status": "3" });
});

// connect-node answers these with nothing but a status.
test.each([
  ["wrong content type", "POST", { "content-type": "text/plain" }, 415],
  ["a stream's content type", "POST", { "content-type": "application/connect+json" }, 415],
  ["gRPC over HTTP/1.1", "POST", { "content-type": "application/grpc" }, 415],
  ["a verb that is not for calls", "PUT", { "content-type": "application/json" }, 405],
])("%s is refused with a reason", async (_, method, headers, status) => {
  const answer = await fetch(lean.url + submitPath, { method, headers, body: "{}" });
  expect(answer.status).toBe(status);
  expect(await answer.json()).toEqual({ code: expect.any(String), message: expect.stringMatching(/./) });
});

test("text with half a surrogate pair is an answer on every door", async () => {
  const body = Buffer.from('{"type":"\\ud800","priority":"\\udfff"}');
  const json = { name: "", path: submitPath, headers: { "content-type": "application/json" }, body };
  expect((await call1(lean, json)).status).toBe(400);
  const headers = { "content-type": "application/grpc+json", te: "trailers" };
  for (const framed of [frame(body), frame(gzipSync(body), 1)]) {
    const packed = framed[0] === 1 ? { "grpc-encoding": "gzip" } : {};
    const answer = await call2(leanHttp2, { ...json, headers: { ...headers, ...packed }, body: framed });
    expect({ ...answer.headers, ...answer.trailers }).toMatchObject({ "grpc-status": "3" });
  }
});
