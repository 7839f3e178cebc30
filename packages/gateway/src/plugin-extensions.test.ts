import { createClient } from "@connectrpc/connect";
import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { controlPipeline, startControl } from "@millrace/control";
import { startProjector } from "@millrace/projector";
import { EventService, InterceptorFailure, InterceptorPhase, JobService, PluginService } from "@millrace/protocol";
import { openNatsTransport, serveNats, type RpcTransport } from "@millrace/rpc";
import { startScheduler } from "@millrace/scheduler";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { startWorker } from "@millrace/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { answeringModule } from "./answering-module.ts";
import { readGatewayConfig } from "./config.ts";
import { startGateway, type Gateway } from "./start-gateway.ts";

const stack = new AsyncDisposableStack();
let gateway: Gateway;
let transport: RpcTransport;
beforeAll(async () => {
  const logger = createLogger({ name: "test", level: "silent" });
  const nats = stack.use(await startTestNats());
  const bus = stack.use(await connectBus({ servers: nats.url, name: "test" }));
  await bus.ensureTopology();
  const store = stack.use(await openStore({ dataDir: "memory://" }));
  await store.migrate();
  stack.use(await startProjector({}, { bus, store, logger }));
  stack.use(await startScheduler({}, { bus, store, logger }));
  const deps = { logger, metrics: createMetrics(), health: new Health() };
  const control = stack.use(await startControl({}, { bus, store, ...deps }));
  stack.use(serveNats(bus, controlPipeline(control)));
  // As between processes.
  transport = stack.use(await openNatsTransport("gateway", { natsUrl: nats.url }));
  stack.use(await startWorker({ queues: ["default"], executors: 1, bus, logger }));
  gateway = stack.use(await startGateway({ ...readGatewayConfig(), httpPort: 0, grpcPort: 0 }, { transport, ...deps }));
  await createClient(PluginService, transport).uploadPlugin({
    manifest: {
      name: "all",
      version: "1.0.0",
      endpoints: [{ path: "hello", export: "hello" }],
      interceptors: [
        {
          phase: InterceptorPhase.BEFORE,
          pathPrefixes: ["/api/v1/queues"],
          export: "deny",
          onFailure: InterceptorFailure.CLOSED,
          // The first call waits for the module to be compiled.
          timeoutMs: 5000,
        },
        {
          phase: InterceptorPhase.AFTER,
          pathPrefixes: ["/ext/"],
          export: "stamp",
          onFailure: InterceptorFailure.OPEN,
          timeoutMs: 5000,
        },
      ],
      events: [{ pattern: "order.*", export: "hear" }],
      schedules: [{ name: "beat", cron: "* * * * * *", export: "beat" }],
    },
    module: answeringModule({
      hello: { status: 201, body: "hi", headers: { "content-type": "text/plain" } },
      deny: { deny: { status: 403, message: "not for you" } },
      stamp: { setHeaders: { "x-stamp": "1" } },
      hear: { heard: true },
      beat: { beaten: true },
    }),
  });
}, 120_000);
afterAll(() => stack.disposeAsync());

const get = (path: string) => fetch(gateway.httpUrl + path);

test("endpoints and interceptors run on a worker", { timeout: 60_000 }, async () => {
  let answer = await get("/ext/all/hello");
  // The gateway hears of the plugin a moment later than its upload is answered.
  for (; answer.status === 404; answer = await get("/ext/all/hello")) await answer.text();
  expect([answer.status, await answer.text(), answer.headers.get("x-stamp")]).toEqual([201, "hi", "1"]);
  const denied = await get("/api/v1/queues");
  expect(denied.status).toBe(403);
  expect(await denied.json()).toMatchObject({ error: { code: "permission_denied", message: "not for you" } });
});

test("events and tasks become jobs that a worker runs", { timeout: 60_000 }, async () => {
  const ended = new Map<string, unknown[]>();
  const events = createClient(EventService, transport);
  for await (const { event } of createClient(JobService, transport).watchJobs({})) {
    if (event === undefined || !/^(succeeded|dead)$/.test(event.kind)) continue;
    ended.set(event.queue, [event.type, event.kind]);
    if (ended.size === 2) break;
    // At each tick, so that it does not matter when the plugin began to listen.
    await events.publishEvent({ name: "order.paid" });
  }
  expect(ended).toEqual(
    new Map([
      ["plugin-tasks", ["all", "succeeded"]],
      ["plugin-events", ["all", "succeeded"]],
    ]),
  );
});
