import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import {
  InterceptorFailure,
  InterceptorPhase,
  JobService,
  PluginRuntimeService,
  WatchExtensionsResponseSchema,
} from "@millrace/protocol";
import { bindService, createDirectTransport, createPipeline, type ServiceImpl } from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { endpointBodyBytes } from "./serve-endpoints.ts";
import { startGateway, type Gateway } from "./start-gateway.ts";

type Extensions = MessageInitShape<typeof WatchExtensionsResponseSchema>;
type Input = Record<string, unknown> & { headers: Record<string, string> };

/** Stands for the workers: what each export answers; a string is a failure's code. */
const exports: Record<string, (input: Input) => object | string | Promise<object>> = {};
const asked: [name: string, input: Input][] = [];

const jobs: Partial<ServiceImpl<typeof JobService>> = {
  submitJob: (_request, call) => ({ id: call.requestHeader.get("traceparent") ?? "none" }),
};

let current: Extensions = {};
let changed = Promise.withResolvers<void>();
const control = createPipeline({
  services: [
    bindService(JobService, jobs as ServiceImpl<typeof JobService>),
    bindService(PluginRuntimeService, {
      async *watchExtensions() {
        for (;;) {
          yield create(WatchExtensionsResponseSchema, current);
          await changed.promise;
        }
      },
      async invokePlugin({ name, export: exportName, input }) {
        const told = JSON.parse(Buffer.from(input).toString()) as Input;
        asked.push([`${name}.${exportName}`, told]);
        const answer = await exports[exportName]?.(told);
        if (typeof answer === "string") return { error: { code: answer, message: "inside" } };
        return { output: Buffer.from(JSON.stringify(answer ?? {})) };
      },
    }),
  ],
});

let gateway: Gateway;
const metrics = createMetrics();
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  gateway = stack.use(
    await startGateway(
      { ...readGatewayConfig(), httpPort: 0, grpcPort: 0 },
      {
        transport: createDirectTransport(control),
        metrics,
        health: new Health(),
        logger: createLogger({ name: "gateway", level: "silent" }),
      },
    ),
  );
});
afterAll(() => stack.disposeAsync());
beforeEach(() => {
  asked.length = 0;
});

/** Installs extensions; resolves when the gateway has them. */
async function install(extensions: Extensions): Promise<void> {
  const marker = `m${Math.random().toString(36).slice(2)}`;
  exports["marker"] = () => ({});
  current = { plugins: [...(extensions.plugins ?? []), { name: marker, endpoints: [{ path: "", export: "marker" }] }] };
  changed.resolve();
  changed = Promise.withResolvers();
  // The table is taken over in the order it was told.
  while ((await fetch(`${gateway.httpUrl}/ext/${marker}`)).status !== 200);
  asked.length = 0;
}

const get = (path: string, init: RequestInit = {}) => fetch(gateway.httpUrl + path, init);
const before = (exportName: string, more: object = {}) => ({
  phase: InterceptorPhase.BEFORE,
  export: exportName,
  pathPrefixes: ["/api/", "/millrace."],
  onFailure: InterceptorFailure.CLOSED,
  ...more,
});

test("an endpoint gets the request without credentials, and its answer is sent with guarded headers", async () => {
  exports["hello"] = (input) => ({
    status: 201,
    headers: {
      "Content-Type": "text/html",
      "X-Own": "1",
      "Set-Cookie": "a=b",
      "Content-Security-Policy": "none",
      "Report-To": "{}",
      NEL: "{}",
      "Alt-Svc": "clear",
      "Service-Worker-Allowed": "/",
    },
    body: `<p>${String(input["path"])}</p>`,
  });
  exports["bytes"] = () => ({ bodyBase64: Buffer.from([0, 1, 255]).toString("base64") });
  await install({
    plugins: [
      {
        name: "web",
        endpoints: [
          { path: "/hello/*", methods: ["POST"], export: "hello" },
          { path: "hello/bytes", export: "bytes" },
        ],
      },
    ],
  });
  const answer = await get("/ext/web/hello/you?a=1&a=2&b=%20&constructor=3", {
    method: "POST",
    body: "hi",
    headers: { authorization: "Bearer secret", cookie: "s=1", "x-request-id": "r1" },
  });
  expect([answer.status, await answer.text()]).toEqual([201, "<p>/hello/you</p>"]);
  expect(answer.headers.get("content-type")).toBe("text/html");
  expect(answer.headers.get("x-own")).toBe("1");
  for (const name of ["set-cookie", "report-to", "nel", "alt-svc", "service-worker-allowed"])
    expect(answer.headers.get(name)).toBeNull();
  expect(answer.headers.get("content-security-policy")).toMatch(/^sandbox/);
  const [, input] = asked[0] ?? [];
  expect(input).toMatchObject({
    method: "POST",
    path: "/hello/you",
    query: { a: ["1", "2"], b: [" "], constructor: ["3"] },
    body: Buffer.from("hi").toString("base64"),
    requestId: "r1",
  });
  expect(input?.headers["authorization"]).toBeUndefined();
  expect(input?.headers["cookie"]).toBeUndefined();
  expect([...new Uint8Array(await (await get("/ext/web/hello/bytes")).arrayBuffer())]).toEqual([0, 1, 255]);
});

test("endpoints refuse in the standard shape", async () => {
  exports["trap"] = () => "TRAPPED";
  exports["late"] = () => "TIMED_OUT";
  exports["odd"] = () => ({ status: 99 });
  await install({
    plugins: [
      {
        name: "web",
        endpoints: ["trap", "late", "odd"].map((path) => ({ path, methods: ["GET", "POST"], export: path })),
      },
    ],
  });
  const refusal = async (path: string, init?: RequestInit) => {
    const response = await get(path, init);
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    return [response.status, error.code, error.message];
  };
  expect(await refusal("/ext/web/none")).toEqual([404, "not_found", "nothing is served at /ext/web/none"]);
  expect(await refusal("/ext/none/trap")).toEqual([404, "not_found", "nothing is served at /ext/none/trap"]);
  expect(await refusal("/ext/web/trap", { method: "DELETE" })).toEqual([405, "unimplemented", expect.any(String)]);
  expect(await refusal("/ext/web/trap")).toEqual([500, "internal", "plugin web failed: TRAPPED"]);
  expect(await refusal("/ext/web/late")).toEqual([504, "deadline_exceeded", "plugin web failed: TIMED_OUT"]);
  expect(await refusal("/ext/web/odd")).toEqual([500, "internal", expect.any(String)]);
  const body = "x".repeat(endpointBodyBytes + 1);
  expect(await refusal("/ext/web/trap", { method: "POST", body })).toEqual([413, "out_of_range", expect.any(String)]);
});

test("interceptors run in order before and the other way round after, and rewrite what they may", async () => {
  const trace = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  exports["first"] = () => ({ setHeaders: { traceparent: trace, Authorization: "stolen", "x-a": "1" } });
  exports["second"] = () => ({ removeHeaders: ["X-A"] });
  exports["last"] = () => ({ setHeaders: { "x-last": "1", "Access-Control-Allow-Origin": "*" } });
  exports["early"] = (input) => ({ setHeaders: { "x-early": String(input["status"]) } });
  const after = { phase: InterceptorPhase.AFTER };
  await install({
    plugins: [
      { name: "b", interceptors: [before("second", { order: 2 }), before("last", { order: 9, ...after })] },
      { name: "a", interceptors: [before("first", { order: 1 }), before("early", { order: 1, ...after })] },
    ],
  });
  const answer = await get("/api/v1/jobs", { method: "POST", body: '{"type":"t"}', headers: { cookie: "s=1" } });
  expect(await answer.json()).toEqual({ id: trace });
  expect(answer.headers.get("x-early")).toBe("200");
  expect(answer.headers.get("x-last")).toBe("1");
  expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  expect(asked.map(([name]) => name)).toEqual(["a.first", "b.second", "b.last", "a.early"]);
  expect(asked[0]?.[1]).toMatchObject({ phase: "before", method: "POST", path: "/api/v1/jobs" });
  expect(asked[0]?.[1].headers["cookie"]).toBeUndefined();
  expect(asked[1]?.[1].headers["x-a"]).toBe("1");
  expect(asked[1]?.[1].headers["authorization"]).toBeUndefined();
  expect(new Set(asked.map(([, input]) => input["requestId"])).size).toBe(1);
});

test("what is denied is denied on every protocol", async () => {
  exports["deny"] = () => ({ deny: { status: 429, message: "slower" } });
  await install({ plugins: [{ name: "guard", interceptors: [before("deny")] }] });
  const rest = await get("/api/v1/jobs", { method: "POST", body: '{"type":"t"}' });
  expect(rest.status).toBe(429);
  expect(await rest.json()).toMatchObject({ error: { code: "resource_exhausted", message: "slower" } });
  for (const transport of [
    createConnectTransport({ baseUrl: gateway.httpUrl, httpVersion: "1.1" }),
    createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` }),
  ]) {
    const call = createClient(JobService, transport).submitJob({ type: "t" });
    const error = ConnectError.from(await call.catch((reason: unknown) => reason));
    expect([error.code, error.rawMessage]).toEqual([Code.ResourceExhausted, "slower"]);
  }
  // Other paths, and probes, are not asked about.
  expect((await get("/openapi.json")).status).toBe(200);
  expect((await get("/health/live")).status).toBe(200);
});

test("no interceptor stands before what takes a plugin away", async () => {
  exports["deny"] = () => ({ deny: { status: 403 } });
  await install({ plugins: [{ name: "a", interceptors: [before("deny")] }] });
  const post = (path: string) =>
    get(path, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  for (const path of [
    "/api/v1/plugins/a:enable",
    "/api/v1/plugins/a/x:disable",
    "/millrace.plugins.v1.PluginService/EnablePlugin",
  ])
    expect((await post(path)).status).toBe(403);
  expect((await get("/api/v1/plugins/a")).status).toBe(403);
  asked.length = 0;
  for (const name of ["Disable", "Delete", "Rollback"]) await post(`/millrace.plugins.v1.PluginService/${name}Plugin`);
  for (const name of ["disable", "rollback"]) await post(`/api/v1/plugins/a:${name}`);
  await get("/api/v1/plugins/a", { method: "DELETE" });
  expect(asked).toEqual([]);
});

test("a failing interceptor fails as declared, and in time", async () => {
  exports["trap"] = () => "TRAPPED";
  exports["hang"] = () => new Promise<object>(() => undefined);
  exports["odd"] = () => ({ surprise: 1 });
  exports["deny"] = () => ({ deny: {} });
  const submit = () => get("/api/v1/jobs", { method: "POST", body: '{"type":"t"}' });
  for (const [name, more] of [
    ["trap", {}],
    ["hang", { timeoutMs: 30 }],
    ["odd", {}],
    ["deny", { phase: InterceptorPhase.AFTER }],
  ] as const) {
    await install({ plugins: [{ name: "p", interceptors: [before(name, more)] }] });
    const closed = await submit();
    expect([name, closed.status]).toEqual([name, 503]);
    expect(await closed.json()).toMatchObject({ error: { message: "interceptor p failed" } });
    const open = before(name, { ...more, onFailure: InterceptorFailure.OPEN });
    await install({ plugins: [{ name: "p", interceptors: [open] }] });
    expect([name, (await submit()).status]).toEqual([name, 200]);
  }
});

test("what interceptors do is counted by plugin, and timed", async () => {
  exports["pass"] = () => ({});
  exports["deny"] = () => ({ deny: {} });
  exports["trap"] = () => "TRAPPED";
  const counted = async (phase: string, outcome: string) => {
    const { values } = await metrics.interceptorCalls.get();
    return values.find(
      ({ labels: { plugin, ...rest } }) => plugin === "counted" && rest.phase === phase && rest.outcome === outcome,
    )?.value;
  };
  const runs = [
    [before("pass"), "before", "passed"],
    [before("pass", { phase: InterceptorPhase.AFTER }), "after", "passed"],
    [before("deny"), "before", "denied"],
    [before("trap"), "before", "failed_closed"],
    [before("trap", { onFailure: InterceptorFailure.OPEN }), "before", "failed_open"],
  ] as const;
  for (const [interceptor, phase, outcome] of runs) {
    await install({ plugins: [{ name: "counted", interceptors: [interceptor] }] });
    await get("/api/v1/jobs", { method: "POST", body: '{"type":"t"}' });
    expect([outcome, await counted(phase, outcome)]).toEqual([outcome, 1]);
  }
  expect((await metrics.expose()).text).toContain(
    'millrace_interceptor_seconds_count{plugin="counted",phase="before"} 4',
  );
});

test("PluginRuntimeService is behind no door", async () => {
  const path = "/millrace.plugins.v1.PluginRuntimeService/InvokePlugin";
  const answer = await get(path, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  expect(answer.status).toBe(404);
  const client = createClient(PluginRuntimeService, createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` }));
  const error = ConnectError.from(await client.invokePlugin({}).catch((reason: unknown) => reason));
  expect(error.code).toBe(Code.Unimplemented);
  const spec = await (await get("/openapi.json")).text();
  expect(spec).not.toContain("PluginRuntimeService");
  expect(JSON.parse(spec).paths["/api/v1/events"].post.operationId).toBe("EventService.PublishEvent");
});

test("nobody passes until it is known what stands before requests, and then the last word stands", async () => {
  let away = true;
  const end = Promise.withResolvers<void>();
  const late = createPipeline({
    services: [
      bindService(PluginRuntimeService, {
        async *watchExtensions() {
          if (away) throw new ConnectError("not there", Code.Unavailable);
          yield create(WatchExtensionsResponseSchema, { plugins: [{ name: "p", interceptors: [before("deny")] }] });
          await end.promise;
          throw new ConnectError("gone", Code.Unavailable);
        },
        invokePlugin: () => ({ output: Buffer.from('{"deny":{}}') }),
      }),
    ],
  });
  await using own = await startGateway(
    { ...readGatewayConfig(), httpPort: 0, grpcPort: 0 },
    {
      transport: createDirectTransport(late),
      metrics: createMetrics(),
      health: new Health(),
      logger: createLogger({ name: "gateway", level: "silent" }),
    },
  );
  const submit = () => fetch(`${own.httpUrl}/api/v1/jobs`, { method: "POST", body: '{"type":"t"}' });
  expect((await submit()).status).toBe(503);
  expect((await fetch(`${own.httpUrl}/health/live`)).status).toBe(200);
  expect(await (await fetch(`${own.httpUrl}/health/ready`)).text()).toContain("not known yet");
  away = false;
  // Held until the table is there.
  expect((await submit()).status).toBe(403);
  away = true;
  end.resolve();
  expect((await submit()).status).toBe(403);
});
