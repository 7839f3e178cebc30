// One suite for every transport: callers must not be able to tell them apart.
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { callerHeader, gatewayRpcSubject, JobService, rpcSubject, SystemService } from "@millrace/protocol";
import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { afterAll, describe, expect, test } from "vitest";
import { createDirectTransport } from "./direct-transport.ts";
import { listenDoor, listenHttp2, testPipeline, type Traces } from "./fixture.ts";
import { forwardService } from "./forward-service.ts";
import { decodeFrame, encodeFrame, frameKinds } from "./nats-frame.ts";
import { createGrpcTransport } from "./grpc-transport.ts";
import { createNatsTransport } from "./nats-transport.ts";
import { createPipeline } from "./pipeline.ts";
import { errorDetails } from "./rpc-error.ts";
import { serveNats } from "./serve-nats.ts";

const traces: Traces = { ended: [], onEnded: () => {} };
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());

const pipeline = testPipeline({ limits: { readMaxBytes: 8 * 1024 * 1024 } }, traces);
const nats = stack.use(await startTestNats());
const serverBus = stack.use(await connectBus({ servers: nats.url, name: "server" }));
const clientBus = stack.use(await connectBus({ servers: nats.url, name: "client" }));
const natsServer = stack.use(serveNats(serverBus, pipeline));
await serverBus.flush();
const natsTransport = stack.use(createNatsTransport(clientBus));
const grpcServer = stack.use(await listenHttp2(pipeline));
const grpcTransport = stack.use(createGrpcTransport({ baseUrl: grpcServer.url }));
const direct = createDirectTransport(pipeline);
const forwarded = createDirectTransport(
  createPipeline({ services: [JobService, SystemService].map((service) => forwardService(service, natsTransport)) }),
);

describe.each([
  ["direct", direct],
  ["nats", natsTransport as Transport],
  ["grpc", grpcTransport as Transport],
  ["direct, forwarded over nats", forwarded],
])("%s transport", (_, transport) => {
  const jobs = createClient(JobService, transport);
  const failure = async (call: Promise<unknown>): Promise<ConnectError> => {
    const outcome = await call.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (outcome instanceof ConnectError) return outcome;
    throw new Error("expected a ConnectError", { cause: outcome });
  };

  test("answers unary calls, many at once", async () => {
    expect((await createClient(SystemService, transport).getInfo({})).name).toBe("millrace");
    const ids = Array.from({ length: 200 }, (_unused, n) => `j${n}`);
    const answers = await Promise.all(ids.map((id) => jobs.submitJob({ id, type: "t" })));
    expect(answers.map((answer) => answer.id)).toEqual(ids);
  });

  test("carries code, words, fields and metadata of an error", async () => {
    const taken = await failure(jobs.submitJob({ type: "taken" }));
    expect([taken.code, taken.rawMessage]).toEqual([Code.AlreadyExists, "unique key is taken"]);
    expect(errorDetails(taken)).toEqual([{ field: "unique_key", reason: "taken" }]);
    const invalid = await failure(jobs.submitJob({ type: "not a type" }));
    expect(invalid.code).toBe(Code.InvalidArgument);
    expect(errorDetails(invalid)[0]?.field).toBe("type");
    expect((await failure(jobs.submitJob({ type: "busy" }))).metadata.get("retry-after")).toBe("3");
    expect((await failure(jobs.submitJob({ type: "boom" }))).rawMessage).toBe("internal error");
  });

  test("carries a few words of an error that quotes megabytes", async () => {
    const error = await failure(jobs.submitJob({ type: "quote" }));
    expect([error.code, error.rawMessage]).toEqual([Code.FailedPrecondition, `${"z".repeat(2_047)}…`]);
    const [detail, ...others] = errorDetails(error);
    expect(detail).toEqual({ field: `${"x".repeat(255)}…`, reason: `${"y".repeat(1_023)}…` });
    expect(others).toHaveLength(2);
  });

  test("a deadline ends the call", async () => {
    expect((await failure(jobs.submitJob({ type: "deaf" }, { timeoutMs: 50 }))).code).toBe(Code.DeadlineExceeded);
  });

  test("takes what is left of a deadline", async () => {
    const timeoutMs = 29_645.193619000005;
    expect((await jobs.submitJob({ type: "t", id: "left" }, { timeoutMs })).id).toBe("left");
    for await (const update of jobs.watchJob({ id: "j", resumeAfter: "4" }, { timeoutMs })) {
      expect(update.position).toBe("5");
    }
  });

  test("an aborted call is canceled", async () => {
    const abort = new AbortController();
    const call = failure(jobs.submitJob({ type: "deaf" }, { signal: abort.signal }));
    abort.abort();
    expect((await call).code).toBe(Code.Canceled);
  });

  test("carries messages larger than one NATS message, both ways", async () => {
    const answer = await jobs.submitJob({
      type: "size",
      payload: { content: { case: "raw", value: new Uint8Array(5_000_000) } },
    });
    expect(answer.id).toBe("5000000");
    expect((await jobs.getJob({ id: "large" })).job?.correlationId.length).toBe(3_000_000);
  });

  test("refuses a message over the limit", async () => {
    const call = jobs.submitJob({
      type: "size",
      payload: { content: { case: "raw", value: new Uint8Array(9_000_000) } },
    });
    // In one process nothing is decoded, so there is no encoded size to limit.
    if (transport === direct) expect((await call).id).toBe("9000000");
    else expect((await failure(call)).code).toBe(Code.ResourceExhausted);
  });

  test("streams to the caller, and from it", async () => {
    const positions: string[] = [];
    for await (const update of jobs.watchJob({ id: "j", resumeAfter: "2" })) positions.push(update.position);
    expect(positions).toEqual(["3", "4", "5"]);
    const answer = await jobs.streamJobs(
      (async function* () {
        for (let n = 0; n < 1000; n += 1) yield { type: "t", id: `j${n}` };
      })(),
    );
    expect(answer.accepted).toBe(1000n);
  });

  test("a stream's error arrives after its messages", async () => {
    const positions: string[] = [];
    const error = await failure(
      (async () => {
        for await (const update of jobs.watchJob({ id: "breaks" })) positions.push(update.position);
      })(),
    );
    expect([positions.length, error.code, error.rawMessage]).toEqual([5, Code.Unavailable, "the log is away"]);
    const missing = await failure(
      (async () => {
        for await (const _update of jobs.watchJob({ id: "missing" }));
      })(),
    );
    expect(missing.code).toBe(Code.NotFound);
  });

  test("a caller that leaves a stream ends it at the server", async () => {
    const ended = new Promise<string>((resolve) => {
      traces.onEnded = resolve;
    });
    const abort = new AbortController();
    const error = await failure(
      (async () => {
        for await (const update of jobs.watchJob({ id: "forever" }, { signal: abort.signal })) {
          if (update.position === "5") abort.abort();
        }
      })(),
    );
    expect(error.code).toBe(Code.Canceled);
    expect(await ended).toBe("forever");
  });

  test("a slow reader holds the sender back", async () => {
    traces.ended.length = 0;
    let read = 0;
    for await (const update of jobs.watchJobs({ queue: "6000" })) {
      read = Number(update.position);
      if (read === 10) {
        for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        expect(traces.ended.length).toBeLessThan(2000);
      }
    }
    expect(read).toBe(6000);
  });
});

test("bare NATS clients call in JSON and in protobuf", async () => {
  const subject = "rpc.millrace.jobs.v1.JobService.SubmitJob";
  const text = new TextDecoder();
  const ask = (body: string, to = subject) =>
    clientBus.request(to, new TextEncoder().encode(body), { timeoutMs: 5000 });
  expect(JSON.parse(text.decode((await ask('{"type":"t","id":"a"}')).data))).toEqual({ id: "a" });
  expect(JSON.parse(text.decode((await ask("", "rpc.millrace.system.v1.SystemService.GetInfo")).data))).toMatchObject({
    name: "millrace",
  });
  const refused = await ask('{"type":"t","colour":1}');
  expect(refused.header("Millrace-Error")).toBe("invalid_argument");
  expect(JSON.parse(text.decode(refused.data)).error.details).toEqual([{ field: "colour", reason: "unknown field" }]);
  const binary = await clientBus.request(subject, Buffer.from([0x1a, 1, 116]), { timeoutMs: 5000 });
  expect(text.decode(binary.data)).toBe("\n\x06chosen");
  expect((await ask("garbage")).header("Millrace-Error")).toBe("invalid_argument");
  expect((await ask("{}", "rpc.millrace.jobs.v1.JobService.WatchJob")).header("Millrace-Error")).toBe("unimplemented");
});

test("a caller is believed where gateways call, and nowhere else", async () => {
  // The test service answers with the caller's header when asked for "caller".
  const call = encodeFrame(frameKinds.call, { headers: [[callerHeader, "ada"]] }, Buffer.from("\x1a\x06caller"));
  const { name, parent } = JobService.method.submitJob;
  const ask = (subject: string) => clientBus.request(subject, call, { timeoutMs: 5000 });
  const { payload } = decodeFrame((await ask(gatewayRpcSubject(parent.typeName, name))).data);
  expect(new TextDecoder().decode(payload)).toBe("\n\x03ada");
  expect((await ask(rpcSubject(parent.typeName, name))).header("Millrace-Error")).toBe("invalid_argument");
  // Nor does a bare call bring one in its headers.
  const bare = await clientBus.request(rpcSubject(parent.typeName, name), Buffer.from('{"type":"caller"}'), {
    timeoutMs: 5000,
    headers: [[callerHeader, "ada"]],
  });
  expect(JSON.parse(new TextDecoder().decode(bare.data))).toEqual({ id: "nobody" });
});

test("a call that nobody serves is unavailable at once", async () => {
  const { PluginService } = await import("@millrace/protocol");
  const call = createClient(PluginService, natsTransport).listPlugins({});
  await expect(call).rejects.toMatchObject({ code: Code.Unavailable });
});

test("no stream is left open at the server", async () => {
  expect(natsServer.openStreams).toBe(0);
});

test("a gateway serves what a transport gives, by REST", async () => {
  const gateway = createPipeline({ services: [forwardService(JobService, natsTransport)] });
  await using door = await listenDoor(gateway);
  const ok = await fetch(`${door.url}/api/v1/jobs`, { method: "POST", body: '{"type":"t","id":"x"}' });
  expect(await ok.json()).toEqual({ id: "x" });
  const taken = await fetch(`${door.url}/api/v1/jobs`, { method: "POST", body: '{"type":"taken"}' });
  expect([taken.status, (await taken.json()).error.details]).toEqual([409, [{ field: "unique_key", reason: "taken" }]]);
  const events = await (await fetch(`${door.url}/api/v1/jobs/j/events`, { headers: { "last-event-id": "4" } })).text();
  expect(events.match(/^id: \d$/gm)).toEqual(["id: 5"]);
});
