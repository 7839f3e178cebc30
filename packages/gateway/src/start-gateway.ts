import type { AddressInfo, Server } from "node:net";
import {
  csrfHeader,
  Health,
  identityServices,
  PluginRuntimeService,
  services,
  SystemService,
  version,
} from "@millrace/protocol";
import {
  AnswerBudget,
  apiPages,
  BodyWatch,
  bindService,
  createGrpcHandler,
  createHealthService,
  createHttpHandler,
  createPipeline,
  defaultCors,
  forwardService,
  reflectionServices,
  type Exchange,
  type RpcTransport,
} from "@millrace/rpc";
import {
  createOpsHandler,
  currentTraceparent,
  tracingEnabled,
  type Health as ProcessHealth,
  type Logger,
  type Metrics,
} from "@millrace/service-kit";
import type { GatewayConfig } from "./config.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import { createGrpcServer } from "./create-grpc-server.ts";
import { createRestServer } from "./create-rest-server.ts";
import { ExtensionFeed } from "./extension-feed.ts";
import { guardDoors } from "./guard-doors.ts";
import { guardMetrics } from "./guard-metrics.ts";
import { interceptRequests } from "./intercept-requests.ts";
import { isLocalName, isLoopback } from "./is-loopback.ts";
import { measureCalls, observeBoth } from "./measure-calls.ts";
import { probeControl } from "./probe-control.ts";
import { createRefusals } from "./refusals.ts";
import { createResilientTransport } from "./resilient-transport.ts";
import { createResumingTransport } from "./resuming-transport.ts";
import { serveEndpoints } from "./serve-endpoints.ts";
import { SessionGuard } from "./session-guard.ts";
import { SlowReaders } from "./slow-readers.ts";
import { systemService } from "./system-service.ts";
import { traceCall } from "./trace-call.ts";

export interface GatewayDeps {
  /** Leads to the services behind the gateway; stays the caller's to close. */
  readonly transport: RpcTransport;
  readonly metrics: Metrics;
  readonly health: ProcessHealth;
  readonly logger: Logger;
  /** Leads to `identity`; the same way as to the other services when left out. */
  readonly identityTransport?: RpcTransport;
}

export interface Gateway extends AsyncDisposable {
  readonly httpUrl: string;
  /** `host:port` for gRPC. */
  readonly grpcAddress: string;
}

const idleCheckMs = 20;
/** A body that comes more slowly holds what others could use. */
const bodyLimits = { timeoutMs: 30_000, maxHeldBytes: 256 * 1024 * 1024 };
/** Bytes of whole answers that callers have not taken, of all calls. */
const maxHeldAnswerBytes = 256 * 1024 * 1024;
const slowReaderLimits = { graceMs: 30_000, bytesPerSecond: 64 * 1024 };
/** Of every answer: a browser must not guess what it is, frame it, or tell others where it came from. */
const securityHeaders = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
};
/** What is for one caller stays out of caches. */
const privateHeaders = { "cache-control": "no-store" };
// A module of 16 MiB is 22 MiB in base64, and there is a manifest around it.
const uploadPath = "/millrace.plugins.v1.PluginService/UploadPlugin";
const uploadMaxBytes = 24 * 1024 * 1024;

/**
 * Listens for REST, Connect, gRPC-web and gRPC, and passes every call on.
 * @param config limits and origins are looked up at each call, so they may change
 */
export async function startGateway(config: GatewayConfig, deps: GatewayDeps): Promise<Gateway> {
  const guarded = config.identity === "on";
  if (!guarded && !isLoopback(config.host)) {
    throw new RangeError(`host ${config.host} can be reached from elsewhere, so identity must be on`);
  }
  const { logger, metrics } = deps;
  const offered = guarded ? [...services, ...identityServices] : services;
  const refusals = createRefusals(metrics);
  const transport = createResumingTransport(createResilientTransport(deps.transport, metrics), metrics);
  const identityTransport =
    deps.identityTransport === undefined || deps.identityTransport === deps.transport
      ? transport
      : createResilientTransport(deps.identityTransport, metrics);
  const reflection = reflectionServices([...offered, Health]);
  const served = [...offered, Health, PluginRuntimeService, ...reflection.map(([service]) => service)];
  const guard = guarded
    ? guardDoors(config, { services: served, transport, identityTransport, refusals, logger })
    : undefined;
  const health = createHealthService(offered.map((service) => service.typeName));
  const measure = { ...measureCalls(metrics), overloaded: () => refusals.count("overloaded") };
  const around = {
    ...guard?.hooks,
    observer: guard === undefined ? measure : observeBoth(measure, guard.observer),
    ...(tracingEnabled() ? { trace: traceCall } : {}),
  };
  const forward = {
    traceparent: currentTraceparent,
    ...(guard === undefined ? {} : { caller: guard.callerOf }),
  };
  // Browsers keep their tokens in cookies, and a session is shown with the browser it is of.
  const toIdentity = { ...forward, headers: ["cookie", csrfHeader, "user-agent"] };
  const pipeline = createPipeline({
    ...around,
    limits: {
      readMaxBytes: config.readMaxBytes,
      methodReadMaxBytes: { [uploadPath]: Math.max(uploadMaxBytes, config.readMaxBytes) },
    },
    services: [
      ...services
        .filter((service) => service.typeName !== SystemService.typeName)
        .map((service) => forwardService(service, transport, forward)),
      ...(guarded ? identityServices : []).map((service) => forwardService(service, identityTransport, toIdentity)),
      bindService(SystemService, systemService()),
      bindService(Health, health.impl),
      ...reflection,
    ],
  });
  // No door offers it: custom endpoints go through it, so that what holds for every method holds for them.
  const runtime = createPipeline({
    ...around,
    services: [forwardService(PluginRuntimeService, transport, forward)],
  });
  const extensions = new ExtensionFeed(deps.transport, deps.logger);
  const own = guarded ? ["self"] : [];
  const allowed = guarded ? [] : defaultCors.allowOrigins;
  const cors = {
    get allowOrigins() {
      return [...own, ...(config.allowOrigins ?? allowed)];
    },
  };
  // Who may call is not asked: then no page may come by a name of its own.
  const isServed = (host: string): boolean =>
    isLocalName(host) ||
    (config.allowOrigins ?? []).some((one) => one === `http://${host}` || one === `https://${host}`);
  const pages = apiPages(offered, { title: "Millrace", version });
  const endpoints = serveEndpoints(extensions, runtime, deps.logger);
  const serve = (exchange: Exchange) => guard?.serveKeys(exchange) === true || endpoints(exchange);
  const intercept = interceptRequests(extensions, deps.transport, logger, metrics);
  const ops = createOpsHandler(deps);
  const bodies = new BodyWatch({ ...bodyLimits, onRefused: refusals.count });
  const onOriginRefused = () => refusals.count("origin");
  const headers = guarded ? { ...securityHeaders, ...privateHeaders } : securityHeaders;
  const answers = new AnswerBudget(maxHeldAnswerBytes, () => refusals.count("overloaded"));
  const doors = {
    cors,
    pages,
    serve,
    intercept,
    bodies,
    answers,
    headers,
    onOriginRefused,
    ...(guarded ? {} : { isServed }),
  };

  const behindProxies = config.trustedProxyHops > 0;
  const onRefused = refusals.count;
  const connections = new ConnectionLimits({
    maxConnections: config.maxConnections,
    get maxPerAddress() {
      return config.maxConnectionsPerAddress;
    },
    behindProxies,
    onRefused,
  });
  const slowReaders = new SlowReaders(slowReaderLimits, () => refusals.count("slow_reader"));
  const fallback = guard === undefined ? ops : guardMetrics(ops, guard);
  const http = createRestServer(createHttpHandler(pipeline, { ...doors, fallback }), refusals.count);
  http.on("connection", (socket) => slowReaders.watch(socket, () => socket.destroy()));
  const onAbuse = (address: string) => connections.blame(address);
  const sessions = new SessionGuard({ behindProxies, onRefused, onAbuse });
  const grpc = createGrpcServer(createGrpcHandler(pipeline, doors), sessions, slowReaders);
  grpc.on("sessionError", (error) => logger.debug({ err: error }, "gRPC connection failed"));
  for (const server of [http, grpc]) connections.guard(server);

  try {
    await listen(http, config.httpPort, config.host);
    await listen(grpc, config.grpcPort, config.host);
  } catch (reason) {
    http.close();
    grpc.close();
    await extensions[Symbol.asyncDispose]();
    await guard?.[Symbol.asyncDispose]();
    for (const watch of [bodies, slowReaders, connections, sessions]) watch[Symbol.dispose]();
    throw reason;
  }
  const httpUrl = `http://${addressOf(http, config.host)}`;
  const grpcAddress = addressOf(grpc, config.host);
  const listening = deps.health.part("gateway");
  listening.ready();
  const control = deps.health.check("control", () => probeControl(deps.transport));
  const known = deps.health.check("extensions", () => (extensions.table === undefined ? "not known yet" : undefined));
  deps.logger.info({ httpUrl, grpcAddress }, "gateway listens");

  let stopping: Promise<void> | undefined;
  async function stop(): Promise<void> {
    health.setServing(false);
    listening.missing("stopping");
    const closed = Promise.all([close(http), close(grpc)]);
    // A kept-alive connection falls idle when its last call has been answered.
    const idle = setInterval(() => http.closeIdleConnections(), idleCheckMs);
    for (const session of sessions.sessions) session.close(); // GOAWAY: streams that run may end
    const cut = setTimeout(() => {
      deps.logger.warn({ inFlight: pipeline.inFlight }, "calls are cut");
      http.closeAllConnections();
      for (const session of sessions.sessions) session.destroy();
    }, config.drainMs);
    await closed;
    control[Symbol.dispose]();
    known[Symbol.dispose]();
    await extensions[Symbol.asyncDispose]();
    await guard?.[Symbol.asyncDispose]();
    for (const watch of [bodies, slowReaders, connections, sessions]) watch[Symbol.dispose]();
    clearTimeout(cut);
    clearInterval(idle);
  }

  return {
    httpUrl,
    grpcAddress,
    [Symbol.asyncDispose]() {
      return (stopping ??= stop());
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function addressOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
