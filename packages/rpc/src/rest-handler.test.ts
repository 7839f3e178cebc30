import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { anonymous } from "./call-context.ts";
import { listenDoor, testPipeline, type Listening, type Traces } from "./fixture.ts";

const traces: Traces = { ended: [], onEnded: () => {} };
let server: Listening;
beforeAll(async () => {
  server = await listenDoor(
    testPipeline(
      {
        limits: { readMaxBytes: 4096 },
        identify: (call) => ({ ...anonymous, subject: call.header("x-user") ?? "anonymous" }),
      },
      traces,
    ),
  );
});
afterAll(() => server[Symbol.asyncDispose]());

async function call(verb: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + path, {
    method: verb,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, json: text === "" ? undefined : JSON.parse(text) };
}

test("path variables, query and body fill the request", async () => {
  expect((await call("GET", "/api/v1/jobs/abc")).json).toEqual({
    job: { id: "abc", queue: "default", type: "t", state: "JOB_STATE_QUEUED", tags: ["a", "ü"] },
  });
  expect((await call("POST", "/api/v1/jobs", { id: "j1", type: "t", queue: "twice" })).json).toEqual({
    id: "j1",
    duplicate: true,
  });
  const listed = await call(
    "GET",
    "/api/v1/jobs?queue=emails&states=dead,JOB_STATE_CANCELLED&states=5&page_size=7&priority=high&submittedAfter=2026-01-01T00:00:00Z",
  );
  expect(JSON.parse(listed.json.nextPageToken)).toEqual(["emails", [6, 7, 5], 7, 2, "1767225600"]);
  expect((await call("GET", "/api/v1/system/info")).json).toMatchObject({
    name: "millrace",
    startedAt: "2023-11-14T22:13:20Z",
  });
});

test("an unknown field is refused by its path", async () => {
  const answer = await call(
    "POST",
    "/api/v1/jobs",
    { type: "t", colour: "red", backoff: { bass: 1 } },
    { "x-request-id": "r-1" },
  );
  expect(answer.status).toBe(400);
  expect(answer.json).toEqual({
    error: {
      code: "invalid_argument",
      message: "colour: unknown field; backoff.bass: unknown field",
      details: [
        { field: "colour", reason: "unknown field" },
        { field: "backoff.bass", reason: "unknown field" },
      ],
      requestId: "r-1",
    },
  });
  expect((await call("GET", "/api/v1/jobs?colour=red")).json.error.details).toEqual([
    { field: "colour", reason: "unknown field" },
  ]);
});

test("wrong values are named: a type, an enum, a broken rule, broken JSON", async () => {
  const typed = await call("POST", "/api/v1/jobs", { type: "t", maxAttempts: "many" });
  expect(typed.status).toBe(400);
  expect(typed.json.error.details[0].field).toBe("max_attempts");
  const named = await call("POST", "/api/v1/jobs", { type: "t", priority: "urgent" });
  expect(named.json.error.details).toEqual([
    { field: "priority", reason: "must be one of critical, high, normal, low" },
  ]);
  expect((await call("POST", "/api/v1/jobs", { type: "t", priority: "high" })).status).toBe(200);
  const ruled = await call("POST", "/api/v1/jobs", { type: "no spaces", queue: "UPPER" });
  expect(ruled.status).toBe(400);
  expect(ruled.json.error.details.map((detail: { field: string }) => detail.field).sort()).toEqual(["queue", "type"]);
  const broken = await call("POST", "/api/v1/jobs", '{"type":');
  expect([broken.status, broken.json.error.code]).toEqual([400, "invalid_argument"]);
  expect((await call("POST", "/api/v1/jobs", "[1]")).status).toBe(400);
});

test("each kind of refusal has its status", async () => {
  const status = async (type: string) => (await call("POST", "/api/v1/jobs", { type })).status;
  expect(await status("taken")).toBe(409);
  expect(await status("rule")).toBe(422);
  expect(await status("huge")).toBe(413);
  expect((await call("GET", "/api/v1/jobs/missing")).status).toBe(404);
  expect((await call("POST", "/api/v1/jobs/j1:cancel", { reason: "because" })).json.error.message).toBe(
    "job j1 has ended: because",
  );
  const busy = await call("POST", "/api/v1/jobs", { type: "busy" });
  expect([busy.status, busy.headers.get("retry-after")]).toEqual([503, "3"]);
  const boom = await call("POST", "/api/v1/jobs", { type: "boom" });
  expect([boom.status, boom.json.error.message]).toEqual([500, "internal error"]);
  const large = await call("POST", "/api/v1/jobs", { type: "t", correlationId: "x".repeat(5000) });
  expect([large.status, large.json.error.code]).toEqual([413, "out_of_range"]);
});

test("unknown paths and verbs", async () => {
  expect((await call("GET", "/api/v1/nothing")).status).toBe(404);
  expect((await call("POST", "/api/v1/jobs/x:explode", {})).status).toBe(404);
  const verb = await call("PUT", "/api/v1/jobs", {});
  expect([verb.status, verb.headers.get("allow")]).toEqual([405, "GET, POST"]);
});

test("a deadline ends a method that does not look at its signal", async () => {
  const answer = await call("POST", "/api/v1/jobs", { type: "deaf" }, { "x-request-timeout-ms": "30" });
  expect([answer.status, answer.json.error.code]).toEqual([504, "deadline_exceeded"]);
});

test("identity comes from the hook", async () => {
  expect((await call("POST", "/api/v1/jobs", { type: "who" }, { "x-user": "ada" })).json.id).toBe("ada");
});

test("browsers: loopback origins may call, others may not write", async () => {
  const local = await call("POST", "/api/v1/jobs", { type: "t" }, { origin: "http://localhost:5173" });
  expect(local.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
  expect((await call("POST", "/api/v1/jobs", { type: "t" }, { origin: "https://evil.example" })).status).toBe(403);
  const preflight = await call("OPTIONS", "/api/v1/jobs", undefined, {
    origin: "http://localhost:5173",
    "access-control-request-method": "POST",
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-headers")).toContain("X-Grpc-Web");
});

test("a server stream is Server-Sent Events, resumable by Last-Event-ID", async () => {
  const response = await fetch(`${server.url}/api/v1/jobs/j1/events`);
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const text = await response.text();
  expect(text.match(/^id: \d$/gm)).toHaveLength(5);
  expect(text).toContain('id: 2\ndata: {"position":"2","event":{"jobId":"j1","kind":"progress"}}\n\n');
  expect(text.endsWith("event: end\ndata: {}\n\n")).toBe(true);
  const resumed = await (
    await fetch(`${server.url}/api/v1/jobs/j1/events`, { headers: { "last-event-id": "3" } })
  ).text();
  expect(resumed.match(/^id: \d$/gm)).toEqual(["id: 4", "id: 5"]);
});

test("a stream that fails at once has a status, later an event", async () => {
  expect((await call("GET", "/api/v1/jobs/missing/events")).status).toBe(404);
  const text = await (await fetch(`${server.url}/api/v1/jobs/breaks/events`)).text();
  expect(text).toContain('event: error\ndata: {"error":{"code":"unavailable","message":"the log is away"');
});

test("a stream whose reader leaves is ended", async () => {
  const ended = new Promise<string>((resolve) => {
    traces.onEnded = resolve;
  });
  const abort = new AbortController();
  const response = await fetch(`${server.url}/api/v1/jobs/forever/events`, { signal: abort.signal });
  await response.body?.getReader().read();
  abort.abort();
  expect(await ended).toBe("forever");
});

test("a stream that is silent says every 15 s that it is there", async () => {
  // The server's intervals only: sockets and the client keep their time.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const abort = new AbortController();
  try {
    const response = await fetch(`${server.url}/api/v1/jobs/forever/events`, { signal: abort.signal });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const readUntil = async (end: string): Promise<void> => {
      while (!text.endsWith(end)) text += (await reader.read()).value ?? "";
    };
    while (!text.includes("id: 5")) text += (await reader.read()).value ?? "";
    vi.advanceTimersByTime(14_999);
    expect(text).not.toContain(": keep-alive");
    vi.advanceTimersByTime(1);
    await readUntil(": keep-alive\n\n");
  } finally {
    vi.useRealTimers();
    abort.abort();
  }
});

test("a client stream is newline-delimited JSON", async () => {
  const lines = Array.from({ length: 300 }, (_, n) => JSON.stringify({ type: "t", id: `j${n}` })).join("\n");
  expect((await call("POST", "/api/v1/jobs:stream", lines, { "content-type": "application/x-ndjson" })).json).toEqual({
    accepted: "300",
  });
  const bad = await call("POST", "/api/v1/jobs:stream", '{"type":"t"}\n{"type":', {
    "content-type": "application/x-ndjson",
  });
  expect([bad.status, bad.json.error.details[0].field]).toEqual([400, "line[2]"]);
  // Bytes count, as on the other doors: 2,000 of these characters are 6,000.
  const wide = await call(
    "POST",
    "/api/v1/jobs:stream",
    JSON.stringify({ type: "t", correlationId: "€".repeat(2_000) }),
    {
      "content-type": "application/x-ndjson",
    },
  );
  expect([wide.status, wide.json.error.code]).toEqual([413, "out_of_range"]);
});
