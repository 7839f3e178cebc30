// What the tests of this package serve: the real contract with small answers, on real sockets.
import { createServer as createHttp1, type RequestListener } from "node:http";
import { createServer as createHttp2, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, type DescMethodUnary, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  callerHeader,
  GetInfoResponseSchema,
  type GetJobResponseSchema,
  JobService,
  JobState,
  MillraceError,
  SystemService,
  WatchJobResponseSchema,
} from "@millrace/protocol";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { callOf } from "./call-context.ts";
import { callFrom } from "./connect-handlers.ts";
import { createGrpcHandler, createHttpHandler, type DoorOptions } from "./http-handler.ts";
import { bindService, createPipeline, type Pipeline, type PipelineOptions } from "./pipeline.ts";

export const info = Object.freeze(
  create(GetInfoResponseSchema, {
    name: "millrace",
    version: "0.1.0",
    node: "test",
    startedAt: { seconds: 1_700_000_000n, nanos: 0 },
  }),
);

/** Signals that streams were ended by their caller. */
export interface Traces {
  readonly ended: string[];
  onEnded: (id: string) => void;
}

export function jobService(traces: Traces): Partial<ServiceImpl<typeof JobService>> {
  return {
    async submitJob(request, context) {
      if (request.type === "boom") throw new Error("a secret of ours");
      if (request.type === "busy") throw new MillraceError("unavailable", "come back later", { retryAfterMs: 2500 });
      if (request.type === "taken")
        throw new MillraceError("already_exists", "unique key is taken", {
          details: [{ field: "unique_key", reason: "taken" }],
        });
      if (request.type === "quote") {
        const details = Array.from({ length: 1_000 }, () => ({ field: "x".repeat(9_000), reason: "y".repeat(9_000) }));
        throw new MillraceError("failed_precondition", "z".repeat(3_000_000), { details });
      }
      if (request.type === "rule") throw new MillraceError("failed_precondition", "queue is closed");
      if (request.type === "huge") throw new MillraceError("out_of_range", "payload is larger than a job may be");
      if (request.type === "caller") return { id: callOf(context).header(callerHeader) ?? "nobody" };
      if (request.type === "who") return { id: callOf(context).identity.subject };
      if (request.type === "size") {
        return { id: String(request.payload?.content.case === "raw" ? request.payload.content.value.byteLength : 0) };
      }
      if (request.type === "slow") {
        await new Promise((_, reject) =>
          context.signal.addEventListener("abort", () => reject(context.signal.reason), { once: true }),
        );
      }
      if (request.type === "deaf") await new Promise(() => {});
      if (request.type === "meta") {
        context.responseHeader.set("x-extra", "head");
        context.responseTrailer.set("x-tail", "tail");
      }
      if (request.type === "metaerror") {
        throw new ConnectError("näh, 100% wrong\n", Code.Aborted, { "x-extra": "head" });
      }
      return { id: request.id === "" ? "chosen" : request.id, duplicate: request.queue === "twice" };
    },
    getJob(request) {
      if (request.id === "missing") throw new MillraceError("not_found", "no job missing");
      if (request.id === "large") return { job: { correlationId: "x".repeat(3_000_000) } };
      const job: MessageInitShape<typeof GetJobResponseSchema> = {
        job: { id: request.id, queue: "default", type: "t", state: JobState.QUEUED, tags: ["a", "ü"] },
      };
      return job;
    },
    listJobs(request) {
      return {
        nextPageToken: JSON.stringify([
          request.queue,
          request.states,
          request.pageSize,
          request.priority,
          request.submittedAfter?.seconds.toString() ?? "",
        ]),
      };
    },
    cancelJob(request) {
      throw new MillraceError("aborted", `job ${request.id} has ended: ${request.reason}`);
    },
    async streamJobs(requests) {
      let accepted = 0n;
      for await (const request of requests) accepted += request.type === "" ? 0n : 1n;
      return { accepted };
    },
    async *watchJob(request, context) {
      if (request.id === "missing") throw new MillraceError("not_found", "no job missing");
      const from = request.resumeAfter === "" ? 0 : Number(request.resumeAfter);
      try {
        for (let n = from + 1; n <= 5; n += 1) {
          yield create(WatchJobResponseSchema, {
            position: String(n),
            update: { case: "event", value: { jobId: request.id, kind: "progress" } },
          });
        }
        if (request.id === "forever") {
          await new Promise((_, reject) =>
            context.signal.addEventListener("abort", () => reject(context.signal.reason), { once: true }),
          );
        }
        if (request.id === "breaks") throw new MillraceError("unavailable", "the log is away");
      } finally {
        traces.ended.push(request.id);
        traces.onEnded(request.id);
      }
    },
    async *watchJobs(request) {
      // A flood, to see that somebody holds it back.
      for (let n = 1; n <= Number(request.queue); n += 1) {
        yield { position: String(n), event: { jobId: "x".repeat(1000) } };
        traces.ended.push(String(n));
      }
    },
  };
}

export function testPipeline(
  options: Partial<PipelineOptions> = {},
  traces: Traces = { ended: [], onEnded: () => {} },
): Pipeline {
  return createPipeline({
    services: [
      bindService(SystemService, { getInfo: () => info }),
      bindService(JobService, jobService(traces) as ServiceImpl<typeof JobService>),
    ],
    ...options,
  });
}

export interface Listening extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
}

export async function listenHttp1(listener: RequestListener): Promise<Listening> {
  const server = createHttp1(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export async function listenHttp2(
  pipelineOrListener: Pipeline | RequestListener,
  options?: Omit<DoorOptions, "fallback">,
): Promise<Listening> {
  const server = createHttp2();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  if (typeof pipelineOrListener === "function") server.on("request", pipelineOrListener as never);
  else server.on("stream", createGrpcHandler(pipelineOrListener, options));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function listenDoor(pipeline: Pipeline, options?: DoorOptions): Promise<Listening> {
  return listenHttp1(createHttpHandler(pipeline, options));
}

/** The unary methods as connect-node serves them by itself. */
export function connectNodesOwn(pipeline: Pipeline): RequestListener {
  const { readMaxBytes, maxTimeoutMs } = pipeline.limits;
  return connectNodeAdapter({
    readMaxBytes,
    maxTimeoutMs,
    routes(router) {
      for (const method of pipeline.methods.values()) {
        if (method.desc.methodKind !== "unary") continue;
        const desc = method.desc as DescMethodUnary;
        router.rpc(
          desc,
          async (request, context) => pipeline.unary(method, request, callFrom(method, context)) as never,
        );
      }
    },
  }) as RequestListener;
}
