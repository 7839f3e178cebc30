import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { anonymous, type CallContext } from "./call-context.ts";
import { BodyWatch } from "./body-watch.ts";
import { listenDoor, listenHttp2, testPipeline } from "./fixture.ts";
import type { PipelineOptions } from "./pipeline.ts";

const path = "/millrace.jobs.v1.JobService/SubmitJob";
const large = JSON.stringify({ type: "t", payload: { text: "x".repeat(100_000) } });

async function open(identify: NonNullable<PipelineOptions["identify"]>) {
  const stack = new AsyncDisposableStack();
  const ended: (string | undefined)[] = [];
  const observer = { ended: (_: CallContext, error?: ConnectError) => void ended.push(error?.message) };
  const pipeline = testPipeline({ identify, observer });
  const watch = stack.use(new BodyWatch({ timeoutMs: 20_000, maxHeldBytes: 1 << 24 }));
  const http1 = stack.use(await listenDoor(pipeline, { bodies: watch }));
  const http2 = stack.use(await listenHttp2(pipeline, { bodies: watch }));
  return { http1, http2, ended, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Sends a large body but for its end, and waits for an answer all the same. */
function halfSent(port: number, url: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const head = `POST ${url} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${large.length}`;
    const socket = connect(port, "127.0.0.1", () => socket.write(`${head}\r\n\r\n${large.slice(0, -1)}`));
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
  });
}

function halfSentGrpc(url: string): Promise<unknown> {
  return new Promise((resolve) => {
    const session = connectHttp2(url);
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc+json" });
    let status: unknown;
    const take = (lines: Record<string, unknown>): void => void (status ??= lines["grpc-status"]);
    stream.on("response", take);
    stream.on("trailers", take);
    stream.on("error", () => {});
    stream.on("close", () => {
      session.close();
      resolve(status);
    });
    stream.resume();
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(large.length, 1);
    stream.write(Buffer.concat([prefix, Buffer.from(large.slice(0, -1))]));
  });
}

test("a stranger's large body is not read to its end", async () => {
  await using doors = await open(() => {
    throw new ConnectError("who are you", Code.Unauthenticated);
  });
  expect(await halfSent(doors.http1.port, "/api/v1/jobs")).toMatch(/^HTTP\/1.1 401 [^]*who are you/);
  expect(await halfSent(doors.http1.port, path)).toMatch(/^HTTP\/1.1 401 [^]*who are you/);
  expect(await halfSentGrpc(doors.http2.url)).toBe("16");
  expect(doors.ended).toEqual(Array.from({ length: 3 }, () => "[unauthenticated] who are you"));
});

test("a refusal for too many calls is not taken for one of the size", async () => {
  await using doors = await open(() => Promise.reject(new ConnectError("slowly", Code.ResourceExhausted)));
  expect(await halfSent(doors.http1.port, "/api/v1/jobs")).toMatch(/^HTTP\/1.1 429 [^]*slowly/);
  expect(await halfSent(doors.http1.port, path)).toMatch(/^HTTP\/1.1 429 [^]*slowly/);
});

test("who may call is looked at once, and the rest is read", async () => {
  let asked = 0;
  await using doors = await open(async () => {
    asked++;
    return anonymous;
  });
  const init = { method: "POST", body: large, headers: { "content-type": "application/json" } };
  for (const url of ["/api/v1/jobs", path]) {
    const answer = await fetch(`http://127.0.0.1:${doors.http1.port}${url}`, init);
    expect(answer.status, await answer.text()).toBe(200);
  }
  expect(asked).toBe(2);
  expect(doors.ended).toEqual([undefined, undefined]);
});
