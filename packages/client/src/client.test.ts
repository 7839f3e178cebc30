import { createServer, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  JobEventViewSchema,
  JobSchema,
  JobService,
  JobState,
  PluginService,
  stateName,
  WatchJobResponseSchema,
  WatchJobsResponseSchema,
  type SubmitJobRequest,
  type WatchJobResponse,
} from "@millrace/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { createClient } from "./client.ts";

let running: Server | undefined;

/** A server with these methods; the others answer `unimplemented`. */
async function serve(
  jobs: Partial<ServiceImpl<typeof JobService>>,
  plugins: Partial<ServiceImpl<typeof PluginService>> = {},
): Promise<{ baseUrl: string; cut: () => void }> {
  const open = new Set<ServerResponse>();
  const handle = connectNodeAdapter({
    routes: (router) => void router.service(JobService, jobs).service(PluginService, plugins),
  });
  running = createServer((request, response) => {
    open.add(response);
    response.on("close", () => open.delete(response));
    handle(request, response);
  });
  running.listen(0, "127.0.0.1");
  await once(running, "listening");
  return {
    baseUrl: `http://127.0.0.1:${(running.address() as AddressInfo).port}`,
    cut: () => open.forEach((response) => response.socket?.destroy()),
  };
}

afterEach(() => {
  running?.closeAllConnections();
  running?.close();
  running = undefined;
});

function row(position: string, state: JobState): WatchJobResponse {
  const job = create(JobSchema, { id: "j", state, attempt: 1 });
  return create(WatchJobResponseSchema, { position, update: { case: "job", value: job } });
}

function event(position: string, state: JobState): WatchJobResponse {
  const view = create(JobEventViewSchema, { jobId: "j", state, attempt: 1, kind: stateName(state) });
  return create(WatchJobResponseSchema, { position, update: { case: "event", value: view } });
}

describe("submit", () => {
  it("sends the whole job", async () => {
    let request: SubmitJobRequest | undefined;
    const { baseUrl } = await serve({
      submitJob(received) {
        request = received;
        return { id: "made", duplicate: false };
      },
    });
    await using client = createClient({ baseUrl });
    const accepted = await client.submit({
      type: "t",
      priority: "critical",
      payload: { a: [1, null] },
      backoff: { kind: "linear", baseMs: 5, jitter: 0.5 },
      runAt: 1_700_000_000_000,
      tags: ["x"],
    });
    expect(accepted).toEqual({ id: "made", duplicate: false });
    expect(request).toMatchObject({
      type: "t",
      priority: 1,
      tags: ["x"],
      backoff: { kind: 2, baseMs: 5, jitterPercent: 50 },
    });
    expect(request?.payload?.content.case).toBe("json");
    expect(request?.runAt?.seconds).toBe(1_700_000_000n);
  });

  it("says that nothing listens", async () => {
    await using client = createClient({ baseUrl: "http://127.0.0.1:9" });
    await expect(client.submit({ type: "t" })).rejects.toMatchObject({
      code: "unavailable",
      message: "cannot reach http://127.0.0.1:9: nothing listens there (ECONNREFUSED)",
    });
  });

  it("passes a refusal on with its code", async () => {
    const { baseUrl } = await serve({
      submitJob() {
        throw new ConnectError("unique key is taken", Code.AlreadyExists, { "retry-after": "3" });
      },
    });
    await using client = createClient({ baseUrl });
    await expect(client.submit({ type: "t" })).rejects.toMatchObject({
      code: "already_exists",
      message: "unique key is taken",
      retryAfterMs: 3000,
    });
  });
});

describe("watch", () => {
  it("goes on after the last position when the connection breaks", async () => {
    const resumed: string[] = [];
    const server = await serve({
      async *watchJob({ resumeAfter }, { signal }) {
        resumed.push(resumeAfter);
        if (resumeAfter === "") {
          yield row("1", JobState.QUEUED);
          yield event("2", JobState.RUNNING);
          setImmediate(() => server.cut());
          await once(signal, "abort");
        }
        yield event("3", JobState.SUCCEEDED);
      },
    });
    await using client = createClient({ baseUrl: server.baseUrl });
    const positions: string[] = [];
    for await (const { position } of client.watch("j", { retryDelayMs: 1 })) positions.push(position);
    expect(resumed).toEqual(["", "2"]);
    expect(positions).toEqual(["1", "2", "3"]);
  });

  it("begins anew when its position is forgotten", async () => {
    const resumed: string[] = [];
    const { baseUrl } = await serve({
      async *watchJob({ resumeAfter }) {
        resumed.push(resumeAfter);
        if (resumeAfter !== "") throw new ConnectError("too old", Code.OutOfRange);
        yield row("9", JobState.DEAD);
      },
    });
    await using client = createClient({ baseUrl });
    expect((await client.wait("j")).state).toBe(JobState.DEAD);
    for await (const _ of client.watch("j", { resumeAfter: "1", retryDelayMs: 1 }));
    expect(resumed).toEqual(["", "1", ""]);
  });

  it("gives up after its tries", async () => {
    await using client = createClient({ baseUrl: "http://127.0.0.1:9" });
    const watching = client.watchAll({}, { maxRetries: 2, retryDelayMs: 1 })[Symbol.asyncIterator]();
    await expect(watching.next()).rejects.toMatchObject({ code: "unavailable" });
  });

  it("does not retry what no retry mends", async () => {
    let calls = 0;
    const { baseUrl } = await serve({
      // oxlint-disable-next-line require-yield
      async *watchJob() {
        calls++;
        throw new ConnectError("no job j", Code.NotFound);
      },
    });
    await using client = createClient({ baseUrl });
    await expect(client.wait("j")).rejects.toMatchObject({ code: "not_found", message: "no job j" });
    expect(calls).toBe(1);
  });

  it("ends the call when the caller leaves", async () => {
    const left = Promise.withResolvers<void>();
    const { baseUrl } = await serve({
      async *watchJobs(_, { signal }) {
        signal.addEventListener("abort", () => left.resolve());
        for (let n = 1; !signal.aborted; n++) {
          yield create(WatchJobsResponseSchema, { position: String(n) });
          if (n === 3) await once(signal, "abort");
        }
      },
    });
    await using client = createClient({ baseUrl });
    for await (const { position } of client.watchAll({ queue: "q" })) if (position === "2") break;
    await left.promise;
  });
});

describe("submitAndWait", () => {
  it("takes the result of the call, or else waits by a watch", async () => {
    const waits: number[] = [];
    const { baseUrl } = await serve({
      submitJob: ({ id, waitMs }) => {
        waits.push(waitMs);
        return id === "fast" ? { id, result: { id, state: JobState.SUCCEEDED, attempt: 1 } } : { id };
      },
      async *watchJob() {
        yield row("1", JobState.RUNNING);
        yield event("2", JobState.DEAD);
      },
    });
    await using client = createClient({ baseUrl });
    expect((await client.submitAndWait({ type: "t", id: "fast" })).state).toBe(JobState.SUCCEEDED);
    const slow = await client.submitAndWait({ type: "t", id: "slow" }, { timeoutMs: 100_000 });
    expect(slow).toMatchObject({ id: "j", state: JobState.DEAD, attempt: 1 });
    expect(waits).toEqual([60_000, 60_000]);
  });

  it("says when the time is over, and what the job waits for", async () => {
    const { baseUrl } = await serve({
      submitJob: ({ id }) => ({ id }),
      getJob: ({ id }) => ({ job: create(JobSchema, { id, waitReason: "no handler" }) }),
      async *watchJob(_, { signal }) {
        yield row("1", JobState.RUNNING);
        await once(signal, "abort");
      },
    });
    await using client = createClient({ baseUrl });
    await expect(client.submitAndWait({ type: "t", id: "j" }, { timeoutMs: 100 })).rejects.toMatchObject({
      code: "deadline_exceeded",
      message: "job j had not ended after 100 ms; it goes on, waiting: no handler",
    });
  });
});

describe("watchPluginLogs", () => {
  it("goes on when the connection breaks, and not when there is no such plugin", async () => {
    let calls = 0;
    const { baseUrl } = await serve(
      {},
      {
        watchPluginLogs: async function* ({ name }) {
          if (name !== "audit") throw new ConnectError(`no plugin ${name}`, Code.NotFound);
          yield { text: `line ${++calls}` };
          throw new ConnectError("a restart", Code.Unavailable);
        },
      },
    );
    await using client = createClient({ baseUrl });
    const texts: string[] = [];
    for await (const { text } of client.watchPluginLogs("audit", { retryDelayMs: 1 })) {
      texts.push(text);
      if (texts.length === 2) break;
    }
    expect(texts).toEqual(["line 1", "line 2"]);
    const none = client.watchPluginLogs("none")[Symbol.asyncIterator]().next();
    await expect(none).rejects.toMatchObject({ code: "not_found" });
  });
});
