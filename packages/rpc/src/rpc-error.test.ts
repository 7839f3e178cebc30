import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { JobService } from "@millrace/protocol";
import { afterAll, expect, test } from "vitest";
import { listenDoor, listenHttp2, testPipeline } from "./fixture.ts";
import { errorDetails } from "./rpc-error.ts";

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const http1 = stack.use(await listenDoor(testPipeline()));
const http2 = stack.use(await listenHttp2(testPipeline()));

const packed = { sendCompression: compressionGzip, compressMinBytes: 0 };

test.each([
  ["Connect", createConnectTransport({ baseUrl: http1.url, httpVersion: "1.1" })],
  ["gRPC-web", createGrpcWebTransport({ baseUrl: http1.url, httpVersion: "1.1" })],
  ["gRPC", createGrpcTransport({ baseUrl: http2.url })],
  ["gRPC, packed", createGrpcTransport({ baseUrl: http2.url, ...packed })],
])("%s carries a few words of an error that quotes megabytes", async (_, transport) => {
  const error = await createClient(JobService, transport).submitJob({ type: "quote" }).then(String, ConnectError.from);
  expect(error).toMatchObject({ code: Code.FailedPrecondition, rawMessage: `${"z".repeat(2_047)}…` });
  expect(errorDetails(error as ConnectError)).toHaveLength(3);
});

async function submit(body: string): Promise<{ message: string; details: { field: string; reason: string }[] }> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${http1.url}/api/v1/jobs`, { method: "POST", headers, body });
  expect(answer.status).toBe(400);
  return ((await answer.json()) as { error: Awaited<ReturnType<typeof submit>> }).error;
}

test("REST names the first of many wrong fields", async () => {
  const wrong = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`field${n}`, 1]));
  const { message, details } = await submit(JSON.stringify(wrong));
  expect(message.length).toBeLessThanOrEqual(2_048);
  expect(details[0]).toEqual({ field: "field0", reason: "unknown field" });
  expect(details.length).toBeLessThanOrEqual(100);
});

test("what is served nowhere is named in part", async () => {
  const answer = await fetch(`${http1.url}/${"x".repeat(12_000)}`);
  expect(answer.status).toBe(404);
  expect((await answer.text()).length).toBeLessThan(3_000);
});
