import { fromJson, toBinary, toJsonString, type JsonObject } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { JobService, SubmitJobRequestSchema, SubmitJobsRequestSchema } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect as connectHttp2 } from "node:http2";
import { gzipSync } from "node:zlib";
import { boundValues, mostValues } from "./bound-values.ts";
import { listenDoor, listenHttp2, testPipeline, type Listening } from "./fixture.ts";

const encoder = new TextEncoder();
const tooMany = { code: Code.InvalidArgument, rawMessage: `message has more than ${mostValues} values` };

function json(text: string): () => void {
  return () => boundValues(SubmitJobsRequestSchema, encoder.encode(text), false);
}

test("values of JSON count, and what stands in strings does not", () => {
  const list = (one: string, count: number) => `{"a":[${Array.from({ length: count }, () => one).join(",")}]}`;
  expect(json(list("1", mostValues - 3))).not.toThrow();
  for (const one of ["1", "{}", "[]", '"x"', '{"b":0}', '"\\\\"', '"\\""']) {
    expect(json(list(one, mostValues + 1)), one).toThrow(expect.objectContaining(tooMany));
  }
  const separators = ",[{:".repeat(mostValues);
  for (const text of [separators, `${separators}\\"${separators}`, `\\\\\\"${separators}\\\\`]) {
    expect(json(`{"a":"${text}","b":1}`)).not.toThrow();
    // An end that is not one, and the other way round.
    expect(json(`{"a":"${text}","b":[${"1,".repeat(mostValues)}1]}`)).toThrow(expect.objectContaining(tooMany));
  }
  // No JSON: whoever parses it says so.
  expect(json(`"${separators}`)).not.toThrow();
});

test("no string or number is more than one value", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.jsonValue(), (text, value) => {
      const filler = "x".repeat(mostValues);
      expect(json(JSON.stringify({ filler, [text]: text, value }))).not.toThrow();
    }),
  );
});

test("values of the binary form count at any depth, known or not", () => {
  const bound = (bytes: Uint8Array) => () => boundValues(SubmitJobsRequestSchema, bytes, true);
  const of = (jobs: JsonObject[]) =>
    bound(toBinary(SubmitJobsRequestSchema, fromJson(SubmitJobsRequestSchema, { jobs })));
  const ones = (count: number): number[] => Array.from({ length: count }, () => 1);
  expect(of([{ type: "t", payload: { text: "x".repeat(3 * mostValues) } }])).not.toThrow();
  expect(of([{ payload: { json: ones(10_000) } }])).not.toThrow();
  expect(of([{ payload: { json: ones(mostValues) } }])).toThrow(expect.objectContaining(tooMany));
  expect(of(ones(mostValues + 1).map(() => ({})))).toThrow(expect.objectContaining(tooMany));
  const map = Object.fromEntries(ones(mostValues).map((one, index) => [`${index}`, one]));
  expect(of([{ payload: { json: map } }])).toThrow(expect.objectContaining(tooMany));
  expect(of([{ tags: ones(mostValues).map(() => "") }])).toThrow(expect.objectContaining(tooMany));
  const unknown = Buffer.alloc(2 * mostValues + 2, Buffer.from([0x78, 1])); // field 15, a number
  expect(bound(unknown)).toThrow(expect.objectContaining(tooMany));
  // What is cut off or no message is not said to have too many.
  expect(bound(Buffer.alloc(mostValues + 1, 0xff))).not.toThrow();
});

let http1: Listening;
let http2: Listening;
beforeAll(async () => {
  const pipeline = testPipeline({ limits: { readMaxBytes: 8 * 1024 * 1024 } });
  http1 = await listenDoor(pipeline, {});
  http2 = await listenHttp2(pipeline, {});
});
afterAll(async () => {
  await http1[Symbol.asyncDispose]();
  await http2[Symbol.asyncDispose]();
});

const method = `/${JobService.typeName}/SubmitJob`;
const values = Array.from({ length: mostValues }, () => 1);
const message = fromJson(SubmitJobRequestSchema, { type: "t", payload: { json: values } });
const asJson = encoder.encode(toJsonString(SubmitJobRequestSchema, message));
const asBinary = toBinary(SubmitJobRequestSchema, message);

function framed(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([head, bytes]);
}

test.each([
  ["/api/v1/jobs", "application/json", {}, asJson],
  [method, "application/json", {}, asJson],
  [method, "application/proto", {}, asBinary],
  [method, "application/proto", { "content-encoding": "gzip" }, gzipSync(asBinary)],
  [method, "application/grpc-web+proto", {}, framed(asBinary)],
  [method, "application/grpc-web+proto", { "grpc-encoding": "gzip" }, framed(gzipSync(asBinary), 1)],
  [method, "application/grpc-web+json", { "grpc-encoding": "gzip" }, framed(gzipSync(asJson), 1)],
])("too many are refused at %s as %s %o", async (path, type, more, body) => {
  const headers = { "content-type": type, ...more };
  const answer = await fetch(`${http1.url}${path}`, { method: "POST", headers, body: Uint8Array.from(body) });
  const text = await answer.text();
  if (type.startsWith("application/grpc-web")) {
    expect(`grpc-status: ${answer.headers.get("grpc-status")}\r\n${text}`).toMatch(/grpc-status: 3\r/);
  } else expect(answer.status).toBe(400);
  expect(decodeURIComponent(`${answer.headers.get("grpc-message") ?? ""}${text}`)).toContain(tooMany.rawMessage);
});

test.each([
  ["SubmitJob", undefined],
  ["SubmitJob", "gzip"],
  ["StreamJobs", undefined],
  ["StreamJobs", "gzip"],
])("too many are refused by gRPC in %s, packed with %s", async (name, encoding) => {
  const session = connectHttp2(http2.url);
  const request = session.request({
    ":method": "POST",
    ":path": `/${JobService.typeName}/${name}`,
    "content-type": "application/grpc",
    ...(encoding === undefined ? {} : { "grpc-encoding": encoding }),
  });
  const seen: Record<string, unknown> = {};
  request.on("response", (head) => Object.assign(seen, head));
  request.on("trailers", (lines) => Object.assign(seen, lines));
  request.on("error", () => {});
  request.resume();
  request.end(encoding === undefined ? framed(asBinary) : framed(gzipSync(asBinary), 1));
  await new Promise((resolve) => request.once("close", resolve));
  session.close();
  expect(seen["grpc-status"]).toBe("3");
  expect(decodeURIComponent(String(seen["grpc-message"]))).toBe(tooMany.rawMessage);
});
