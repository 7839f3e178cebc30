import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { JobService } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { anonymous } from "./call-context.ts";
import { listenDoor, listenHttp2, testPipeline, type Listening } from "./fixture.ts";
import type { DoorOptions } from "./http-handler.ts";

/** Denies, renames the caller, and marks answers, as the request's own headers ask for. */
const intercept: NonNullable<DoorOptions["intercept"]> = ({ headers, path }) => {
  const wish = headers["x-wish"];
  if (wish === undefined) return undefined;
  return {
    requestId: "intercepted-1",
    before: async () =>
      wish === "deny"
        ? { error: new ConnectError("not in here", Code.PermissionDenied), status: 451 }
        : { ...headers, "x-user": "rewritten" },
    after: async (status, reply) =>
      wish === "drop"
        ? { error: new ConnectError("the answer was withheld", Code.Unavailable) }
        : wish === "break"
          ? { ...reply, "http2-settings": "a\nb" }
          : { ...reply, "x-marked": `${status} ${path.slice(0, 5)}` },
  };
};

let http1: Listening;
let http2: Listening;
beforeAll(async () => {
  const pipeline = testPipeline({
    identify: (call) => ({ ...anonymous, subject: call.header("x-user") ?? "anonymous" }),
  });
  http1 = await listenDoor(pipeline, { intercept });
  http2 = await listenHttp2(pipeline, { intercept });
});
afterAll(async () => {
  await http1[Symbol.asyncDispose]();
  await http2[Symbol.asyncDispose]();
});

const doors: Record<string, () => Transport> = {
  "Connect, JSON": () => createConnectTransport({ baseUrl: http1.url, httpVersion: "1.1" }),
  "Connect, binary over HTTP/2": () =>
    createConnectTransport({ baseUrl: http2.url, httpVersion: "2", useBinaryFormat: true }),
  "Connect, GET": () => createConnectTransport({ baseUrl: http1.url, httpVersion: "1.1", useHttpGet: true }),
  "gRPC-web": () => createGrpcWebTransport({ baseUrl: http1.url, httpVersion: "1.1" }),
  gRPC: () => createGrpcTransport({ baseUrl: http2.url }),
};

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  return ConnectError.from(await call.catch((error: unknown) => error));
}

describe.each(Object.entries(doors))("%s", (_name, transport) => {
  const wish = (value: string) => ({ headers: { "x-wish": value } });
  async function watch(id: string, wished: string): Promise<[string[], string | null]> {
    let mark: string | null = null;
    const positions: string[] = [];
    const options = { ...wish(wished), onHeader: (headers: Headers) => (mark = headers.get("x-marked")) };
    for await (const { position } of createClient(JobService, transport()).watchJob({ id }, options)) {
      positions.push(position);
    }
    return [positions, mark];
  }

  test("headers are rewritten before a call and after it", async () => {
    let mark: string | null = null;
    const options = { ...wish("pass"), onHeader: (headers: Headers) => (mark = headers.get("x-marked")) };
    const { id } = await createClient(JobService, transport()).submitJob({ type: "who" }, options);
    expect([id, mark]).toEqual(["rewritten", "200 /mill"]);
    const { job } = await createClient(JobService, transport()).getJob({ id: "j" }, options);
    expect([job?.id, mark]).toEqual(["j", "200 /mill"]);
    expect(await watch("a", "pass")).toEqual([["1", "2", "3", "4", "5"], "200 /mill"]);
  });

  test("errors of the method pass", async () => {
    const jobs = createClient(JobService, transport());
    expect((await refusal(jobs.getJob({ id: "missing" }, wish("pass")))).code).toBe(Code.NotFound);
    expect(await refusal(watch("missing", "pass"))).toMatchObject({ code: Code.NotFound });
  });

  test("what is denied is not served", async () => {
    const denied = { code: Code.PermissionDenied, rawMessage: "not in here" };
    const jobs = createClient(JobService, transport());
    expect(await refusal(jobs.submitJob({ type: "who" }, wish("deny")))).toMatchObject(denied);
    expect(await refusal(jobs.getJob({ id: "j" }, wish("deny")))).toMatchObject(denied);
    expect(await refusal(watch("a", "deny"))).toMatchObject(denied);
  });

  test("headers that cannot be sent fail the call, and nothing else", async () => {
    const jobs = createClient(JobService, transport());
    expect(await refusal(jobs.submitJob({ type: "who" }, wish("break")))).toMatchObject({ code: Code.Internal });
    expect(await refusal(watch("a", "break"))).toMatchObject({ code: Code.Internal });
  });

  test("an answer may be withheld", async () => {
    const withheld = { code: Code.Unavailable, rawMessage: "the answer was withheld" };
    const jobs = createClient(JobService, transport());
    expect(await refusal(jobs.submitJob({ type: "who" }, wish("drop")))).toMatchObject(withheld);
    expect(await refusal(watch("a", "drop"))).toMatchObject(withheld);
  });
});

test("REST, unary and stream", async () => {
  const get = (path: string, wish: string) => fetch(http1.url + path, { headers: { "x-wish": wish } });
  const passed = await get("/api/v1/jobs/abc", "pass");
  expect([passed.status, passed.headers.get("x-marked")]).toEqual([200, "200 /api/"]);
  const denied = await get("/api/v1/jobs/abc", "deny");
  expect(denied.status).toBe(451);
  expect(denied.headers.get("x-request-id")).toBe("intercepted-1");
  expect(await denied.json()).toEqual({
    error: { code: "permission_denied", message: "not in here", details: [], requestId: "intercepted-1" },
  });
  expect((await get("/api/v1/jobs/abc", "drop")).status).toBe(503);
  const events = await get("/api/v1/jobs/a/events", "pass");
  expect(events.headers.get("x-marked")).toBe("200 /api/");
  expect((await events.text()).match(/^id: \d$/gm)).toHaveLength(5);
  expect((await get("/api/v1/jobs/a/events", "deny")).status).toBe(451);
  const nothing = await get("/nothing", "pass");
  expect([nothing.status, nothing.headers.get("x-marked")]).toEqual([404, "404 /noth"]);
});

test("CORS preflights are not intercepted", async () => {
  const preflight = await fetch(`${http1.url}/api/v1/jobs`, {
    method: "OPTIONS",
    headers: { origin: "http://localhost:1", "access-control-request-method": "POST", "x-wish": "deny" },
  });
  expect(preflight.status).toBe(204);
});
