import { JobService, Role, ServerReflection, SystemService } from "@millrace/protocol";
import { gzipSync } from "node:zlib";
import { csrfTokenOf } from "@millrace/rpc";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createRemoteJWKSet, jwtVerify, type JSONWebKeySet } from "jose";
import { expect, test } from "vitest";
import { startGuarded, type Guarded } from "./guard-fixture.ts";

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const publicFields = new Set(["alg", "crv", "kid", "kty", "use", "x", "y"]);
const jobUrl = ({ gateway }: Guarded, id = "a-b") => `${gateway.httpUrl}/api/v1/jobs/${id}`;

async function status(guarded: Guarded, headers: Record<string, string>, init: RequestInit = {}): Promise<number> {
  const response = await fetch(jobUrl(guarded), { ...init, headers });
  await response.body?.cancel();
  return response.status;
}

test("a key that is new is fetched, and those who sign with none are not worth a fetch each", async () => {
  await using guarded = await startGuarded();
  const { identity } = guarded;
  expect(await status(guarded, bearer(await identity.accessToken([Role.VIEWER])))).toBe(200);
  for (let n = 0; n < 5; n++) await status(guarded, bearer(await identity.accessToken([5], { n }, { kid: `no-${n}` })));
  expect(identity.getKeysCalls).toBe(1);
});

test("the public keys are shown to whoever wants to check our tokens", async () => {
  await using guarded = await startGuarded();
  const { identity, gateway } = guarded;
  const url = new URL("/.well-known/jwks.json", gateway.httpUrl);
  const token = await identity.accessToken([Role.VIEWER]);
  // A key that is new comes beside the one before: tokens of both are good.
  await identity.rotate();
  const next = await identity.accessToken([Role.VIEWER]);
  const keySet = createRemoteJWKSet(url);
  const pinned = { issuer: "millrace", audience: "millrace", algorithms: ["EdDSA", "ES256"] };
  for (const one of [token, next]) expect((await jwtVerify(one, keySet, pinned)).payload.sub).toBe("u1");

  identity.away = true;
  const answer = await fetch(url);
  expect(answer.headers.get("cache-control")).toBe("public, max-age=60");
  expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  const { keys } = (await answer.json()) as JSONWebKeySet;
  expect(keys.flatMap((key) => Object.keys(key)).filter((name) => !publicFields.has(name))).toEqual([]);
  expect((await fetch(url, { method: "HEAD" })).status).toBe(200);
  expect((await fetch(url, { method: "POST", body: "{}" })).status).toBe(404);
});

test("what is revoked is refused at once, from the cache too", async () => {
  await using guarded = await startGuarded();
  const { identity } = guarded;
  const byStatus = async (headers: Record<string, string>, wanted: number) =>
    expect.poll(() => status(guarded, headers), { timeout: 1_000 }).toBe(wanted);

  const session = bearer(await identity.accessToken([Role.VIEWER], { sid: "s9", sub: "u9" }));
  const other = bearer(await identity.accessToken([Role.VIEWER], { sid: "s8", sub: "u9" }));
  expect(await status(guarded, session)).toBe(200);
  expect(await status(guarded, other)).toBe(200);
  identity.revoke({ sessionIds: ["s9"] });
  await byStatus(session, 401);
  expect(await status(guarded, other)).toBe(200);
  identity.revoke({ user: "u9" });
  await byStatus(other, 401);

  const token = bearer(identity.apiToken("t1", ["jobs:read"]));
  expect(await status(guarded, token)).toBe(200);
  expect(await status(guarded, token)).toBe(200);
  expect(identity.findTokenCalls).toBe(1);
  identity.revoke({ tokenIds: ["t1"] });
  await byStatus(token, 401);
});

test("a browser's cookie counts, and with a write only beside its CSRF token", async () => {
  await using guarded = await startGuarded();
  const token = await guarded.identity.accessToken([Role.PUBLISHER]);
  const cookie = `theme=dark; mr_session=${token}`;
  const write = { method: "POST", body: "{}" };
  const url = `${guarded.gateway.httpUrl}/api/v1/jobs/a-b:cancel`;
  const post = async (headers: Record<string, string>) => (await fetch(url, { ...write, headers })).status;
  expect(await status(guarded, { cookie })).toBe(200);
  expect(await post({ cookie })).toBe(403);
  expect(await post({ cookie, "x-csrf-token": "guess" })).toBe(403);
  expect(await post({ cookie, "x-csrf-token": csrfTokenOf(token) })).toBe(200);
  expect(await post({ cookie: `__Host-mr_session=${token}`, "x-csrf-token": csrfTokenOf(token) })).toBe(200);
  expect(await status(guarded, { cookie: `mr_session=${token.slice(0, -8)}AAAAAAAA` })).toBe(401);
  // Another site's page, in the same browser.
  expect(await post({ cookie, "x-csrf-token": csrfTokenOf(token), origin: "https://elsewhere.example" })).toBe(403);
  expect(await post({ cookie, "x-csrf-token": csrfTokenOf(token), origin: guarded.gateway.httpUrl })).toBe(200);
});

test("an API token stays within its queues and types, on every method", async () => {
  await using guarded = await startGuarded();
  const { identity, gateway } = guarded;
  const scopes = ["jobs:read", "jobs:submit", "jobs:cancel", "queues:read", "queues:manage", "users:manage"];
  const headers = bearer(identity.apiToken("limited", scopes, { queues: ["a"], types: ["b"] }));
  for (const transport of [
    createConnectTransport({ baseUrl: gateway.httpUrl, httpVersion: "1.1" }),
    createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` }),
  ]) {
    const client = createClient(JobService, transport);
    const code = (call: Promise<unknown>): Promise<Code | "ok"> =>
      call.then(
        () => "ok" as const,
        (reason: unknown) => ConnectError.from(reason).code,
      );
    expect(await code(client.submitJob({ queue: "a", type: "b" }, { headers }))).toBe("ok");
    expect(await code(client.submitJob({ queue: "c", type: "b" }, { headers }))).toBe(Code.PermissionDenied);
    expect(await code(client.submitJob({ queue: "", type: "b" }, { headers }))).toBe(Code.PermissionDenied);
    expect(await code(client.submitJob({ queue: "a", type: "c" }, { headers }))).toBe(Code.PermissionDenied);
    const jobs = [
      { queue: "a", type: "b" },
      { queue: "c", type: "b" },
    ];
    expect(await code(client.submitJobs({ jobs }, { headers }))).toBe(Code.PermissionDenied);
    const streamed = (async function* () {
      yield* jobs;
    })();
    expect(await code(client.streamJobs(streamed, { headers }))).toBe(Code.PermissionDenied);
    expect(await code(client.getJob({ id: "a-b" }, { headers }))).toBe("ok");
    expect(await code(client.getJob({ id: "c-b" }, { headers }))).toBe(Code.NotFound);
    expect(await code(client.cancelJob({ id: "a-c" }, { headers }))).toBe(Code.NotFound);
    expect(await code(client.listJobs({ queue: "a" }, { headers }))).toBe(Code.PermissionDenied);
    expect(await code(client.listJobs({ queue: "a", type: "b" }, { headers }))).toBe(Code.Unimplemented);
    expect(await code(client.pauseQueue({ queue: "a" }, { headers }))).toBe(Code.PermissionDenied);
    expect(await code(client.listQueues({}, { headers }))).toBe(Code.PermissionDenied);
  }
  const users = await fetch(`${gateway.httpUrl}/api/v1/users`, { method: "POST", headers, body: '{"email":"a@b.c"}' });
  expect(users.status).toBe(403);
});

test("the services hear who calls, and from nobody but the gateway", async () => {
  await using guarded = await startGuarded({ trustedProxyHops: 1 });
  const { identity } = guarded;
  const headers = {
    ...bearer(await identity.accessToken([Role.VIEWER], { email: "zoë@example.org" })),
    "millrace-caller": '{"subject":"root"}',
    "x-forwarded-for": "6.6.6.6, 203.0.113.9",
    "x-request-id": "req-1",
  };
  expect(await status(guarded, headers)).toBe(200);
  expect(identity.callers.at(-1)).toMatchObject({
    subject: "u1",
    email: "zoë@example.org",
    sessionId: "s1",
    address: "203.0.113.9",
    requestId: "req-1",
    door: "rest",
  });
});

test("audited calls and their refusals are written down, and not done when they cannot be", async () => {
  await using guarded = await startGuarded();
  const { identity, gateway } = guarded;
  const cancel = async (id: string, headers: Record<string, string>) =>
    (await fetch(`${gateway.httpUrl}/api/v1/jobs/${id}:cancel`, { method: "POST", headers, body: "{}" })).status;
  const viewer = bearer(await identity.accessToken([Role.VIEWER]));
  const publisher = bearer(await identity.accessToken([Role.PUBLISHER]));
  expect(await cancel("j1", publisher)).toBe(200);
  expect(await cancel("ended", publisher)).toBe(409);
  expect(await cancel("j2", viewer)).toBe(403);
  expect(await cancel("j3", {})).toBe(401);
  expect(await status(guarded, viewer)).toBe(200);
  const entries = await identity.audited(4);
  expect(entries.map(({ action, object, result, actor }) => [action, object, result, actor?.userId])).toEqual([
    ["JobService/CancelJob", "j1", "ok", "u1"],
    ["JobService/CancelJob", "ended", "aborted", "u1"],
    ["JobService/CancelJob", "j2", "permission_denied", "u1"],
    ["JobService/CancelJob", "j3", "unauthenticated", "anonymous"],
  ]);
  identity.away = true;
  expect(await cancel("j4", publisher)).toBe(200); // what is written down late is kept until it is
  await expect.poll(() => cancel("j5", publisher), { timeout: 2_000 }).toBe(503);
  expect(await status(guarded, viewer)).toBe(200);
  identity.away = false;
  await expect.poll(() => cancel("j6", publisher), { timeout: 2_000 }).toBe(200);
  await identity.audited(7);
  expect(identity.audit.map((entry) => entry.object)).toContain("j4");
});

test("a flood of calls by nobody fills the audit trail no faster than strangers may call", async () => {
  await using guarded = await startGuarded({ strangerRate: 1, strangerBurst: 4 });
  const { identity, gateway } = guarded;
  const cancel = async (headers: Record<string, string> = {}) =>
    (await fetch(`${gateway.httpUrl}/api/v1/jobs/j:cancel`, { method: "POST", headers })).status;
  const answers = [];
  for (let n = 0; n < 20; n++) answers.push(await cancel());
  expect(answers).toEqual([401, 401, 401, 401, ...Array.from({ length: 16 }, () => 429)]);
  // Where a refusal leaves no entry it costs nothing.
  expect(await status(guarded, {})).toBe(401);
  const entries = await identity.audited(4);
  expect(entries.map(({ result }) => result)).toEqual(Array.from({ length: 4 }, () => "unauthenticated"));
});

test("a user who is refused again and again fills the audit trail no faster", async () => {
  await using guarded = await startGuarded({ strangerRate: 1, strangerBurst: 4 });
  const { identity, gateway } = guarded;
  const headers = bearer(await identity.accessToken([Role.VIEWER]));
  const answers = [];
  for (let n = 0; n < 10; n++) {
    answers.push((await fetch(`${gateway.httpUrl}/api/v1/jobs/j:cancel`, { method: "POST", headers })).status);
  }
  expect(answers).toEqual([403, 403, 403, 403, 429, 429, 429, 429, 429, 429]);
  await identity.audited(4);
});

test("callers, addresses and strangers have rates, and are told", async () => {
  await using guarded = await startGuarded({ identityRate: 1, identityBurst: 5, strangerRate: 1, strangerBurst: 4 });
  const { identity, gateway, metrics } = guarded;
  const headers = bearer(await identity.accessToken([Role.VIEWER]));
  const answers = [];
  for (let n = 0; n < 7; n++) answers.push(await fetch(jobUrl(guarded), { headers }));
  expect(answers.map((one) => one.status)).toEqual([200, 200, 200, 200, 200, 429, 429]);
  const refused = answers.at(-1);
  expect(refused?.headers.get("retry-after")).toBe("1");
  expect(refused?.headers.get("ratelimit-policy")).toBe('"default";q=5;w=5');
  expect(refused?.headers.get("ratelimit-remaining")).toBe("0");
  expect(await refused?.json()).toMatchObject({ error: { code: "resource_exhausted", message: "too many calls" } });
  // Another user of the same address has a bucket of their own.
  const other = bearer(identity.apiToken("t2", ["jobs:read"]));
  expect(await status(guarded, other)).toBe(200);
  const system = createClient(SystemService, createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` }));
  const limited = await system.getInfo({}, { headers }).catch(ConnectError.from);
  expect(limited).toMatchObject({ code: Code.ResourceExhausted });
  // Two of the strangers' four went to the tokens above.
  const guesses = [];
  for (let n = 0; n < 4; n++) guesses.push(await status(guarded, bearer(`mr_${"B".repeat(40)}${n}`)));
  expect(guesses).toEqual([401, 401, 429, 429]);
  const { text } = await metrics.expose();
  expect(text).toMatch(/millrace_refusals_total\{reason="rate_limit"\} 5/);
  expect(text).toMatch(/millrace_refusals_total\{reason="invalid_token"\} 2/);
});

test("what one user submits is bounded by number and size", async () => {
  await using guarded = await startGuarded({ jobRate: 1, jobBurst: 20, jobKibibyteRate: 1, jobKibibyteBurst: 100 });
  const { identity, gateway, metrics } = guarded;
  const submit = async (user: string, path: string, body: object) => {
    const headers = bearer(await identity.accessToken([Role.PUBLISHER], { sub: user }));
    const answer = await fetch(`${gateway.httpUrl}/api/v1/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    return answer.status;
  };
  const jobs = Array.from({ length: 12 }, () => ({ type: "t" }));
  expect(await submit("a", "jobs:batch", { jobs })).toBe(501);
  expect(await submit("a", "jobs:batch", { jobs })).toBe(429);
  expect(await submit("b", "jobs", { type: "t", payload: { json: "x".repeat(60_000) } })).toBe(200);
  expect(await submit("b", "jobs", { type: "t", payload: { json: "x".repeat(60_000) } })).toBe(429);
  expect(await submit("c", "jobs", { type: "t" })).toBe(200);
  // Packed, or by a door that does not say how long a body is, it is as large.
  const packed = { ...bearer(await identity.accessToken([Role.PUBLISHER], { sub: "d" })), "content-encoding": "gzip" };
  const url = `${gateway.httpUrl}/millrace.jobs.v1.JobService/SubmitJob`;
  const body = gzipSync(JSON.stringify({ type: "t", payload: { json: { deep: ["x".repeat(60_000)] } } }));
  const send = () => fetch(url, { method: "POST", headers: { ...packed, "content-type": "application/json" }, body });
  expect([(await send()).status, (await send()).status]).toEqual([200, 429]);
  expect((await metrics.expose()).text).toContain('millrace_refusals_total{reason="quota"} 3');
});

test("without the limiter a gateway limits on its own, and without identity nobody new gets in", async () => {
  await using guarded = await startGuarded({ identityRate: 0.5, identityBurst: 3 });
  const { identity } = guarded;
  const token = bearer(await identity.accessToken([Role.VIEWER]));
  expect(await status(guarded, token)).toBe(200);
  identity.away = true;
  const codes = [];
  for (let n = 0; n < 6; n++) codes.push(await status(guarded, token));
  expect(codes.slice(-2)).toEqual([429, 429]);
  expect(await status(guarded, bearer(identity.apiToken("new", ["jobs:read"])))).toBe(503);
});

test("without credentials there are probes, and nothing else", async () => {
  await using guarded = await startGuarded();
  const { gateway, identity } = guarded;
  const get = async (path: string, headers = {}) => (await fetch(`${gateway.httpUrl}${path}`, { headers })).status;
  expect(await get("/health/live")).toBe(200);
  expect(await get("/metrics")).toBe(401);
  expect(await get("/metrics", bearer(identity.apiToken("m", ["jobs:read"])))).toBe(403);
  expect(await get("/metrics", bearer(identity.apiToken("n", ["system:read"])))).toBe(200);
  const transport = createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` });
  const ask = (async function* () {
    yield { messageRequest: { case: "listServices" as const, value: "" } };
  })();
  const answers = createClient(ServerReflection, transport).serverReflectionInfo(ask);
  await expect(answers[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: Code.Unauthenticated });
});

test("web pages of other sites are kept out, and answers are not kept", async () => {
  await using guarded = await startGuarded();
  const { gateway, identity, metrics } = guarded;
  const headers = bearer(await identity.accessToken([Role.PUBLISHER]));
  const loopback = { ...headers, origin: "http://localhost:3000" };
  expect(await status(guarded, loopback, { method: "POST" })).toBe(403);
  const read = await fetch(jobUrl(guarded), { headers: loopback });
  expect(read.headers.get("access-control-allow-origin")).toBeNull();
  expect(read.headers.get("cache-control")).toBe("no-store");
  expect(read.headers.get("x-frame-options")).toBe("DENY");
  expect((await fetch(`${gateway.httpUrl}/docs`)).headers.get("content-security-policy")).toContain("frame-ancestors");
  expect((await metrics.expose()).text).toContain('millrace_refusals_total{reason="origin"} 1');
});

test("identity off: everybody may, on loopback only", async () => {
  await using guarded = await startGuarded({ identity: "off" });
  expect(await status(guarded, {})).toBe(200);
  const login = await fetch(`${guarded.gateway.httpUrl}/api/v1/auth/login`, { method: "POST", body: "{}" });
  expect(login.status).toBe(404);
  await expect(startGuarded({ identity: "off", host: "0.0.0.0" })).rejects.toThrow("identity must be on");
});
