import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { Health, PluginRuntimeService, services, SystemService, version } from "@millrace/protocol";
import {
  apiPages,
  bindService,
  createGrpcHandler,
  createHealthService,
  createHttpHandler,
  createPipeline,
  forwardService,
  reflectionServices,
  type PipelineOptions,
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
import { ExtensionFeed } from "./extension-feed.ts";
import { interceptRequests } from "./intercept-requests.ts";
import { measureCalls } from "./measure-calls.ts";
import { probeControl } from "./probe-control.ts";
import { serveEndpoints } from "./serve-endpoints.ts";
import { systemService } from "./system-service.ts";
import { traceCall } from "./trace-call.ts";

export interface GatewayDeps {
  /** Leads to the services behind the gateway; stays the caller's to close. */
  readonly transport: RpcTransport;
  readonly metrics: Metrics;
  readonly health: ProcessHealth;
  readonly logger: Logger;
  /** Identity, permission and rate limits of every call. */
  readonly hooks?: Pick<PipelineOptions, "identify" | "authorize" | "admit">;
}

export interface Gateway extends AsyncDisposable {
  readonly httpUrl: string;
  /** `host:port` for gRPC. */
  readonly grpcAddress: string;
}

const maxHeaderBytes = 32 * 1024;
const headersTimeoutMs = 15_000;
const keepAliveTimeoutMs = 65_000;
const idleCheckMs = 20;
const maxConcurrentStreams = 1_000;
// A module of 16 MiB is 22 MiB in base64, and there is a manifest around it.
const uploadPath = "/millrace.plugins.v1.PluginService/UploadPlugin";
const uploadMaxBytes = 24 * 1024 * 1024;

/** Listens for REST, Connect, gRPC-web and gRPC, and passes every call on. */
export async function startGateway(config: GatewayConfig, deps: GatewayDeps): Promise<Gateway> {
  const health = createHealthService(services.map((service) => service.typeName));
  const around = {
    ...deps.hooks,
    observer: measureCalls(deps.metrics),
    ...(tracingEnabled() ? { trace: traceCall } : {}),
  };
  const forward = { traceparent: currentTraceparent };
  const pipeline = createPipeline({
    ...around,
    limits: {
      readMaxBytes: config.readMaxBytes,
      methodReadMaxBytes: { [uploadPath]: Math.max(uploadMaxBytes, config.readMaxBytes) },
    },
    services: [
      ...services
        .filter((service) => service.typeName !== SystemService.typeName)
        .map((service) => forwardService(service, deps.transport, forward)),
      bindService(SystemService, systemService()),
      bindService(Health, health.impl),
      ...reflectionServices([...services, Health]),
    ],
  });
  // No door offers it: custom endpoints go through it, so that what holds for every method holds for them.
  const runtime = createPipeline({
    ...around,
    services: [forwardService(PluginRuntimeService, deps.transport, forward)],
  });
  const extensions = new ExtensionFeed(deps.transport, deps.logger);
  const cors = { allowOrigins: config.allowOrigins };
  const pages = apiPages(services, { title: "Millrace", version });
  const serve = serveEndpoints(extensions, runtime, deps.logger);
  const intercept = interceptRequests(extensions, deps.transport, deps.logger);
  const doors = { cors, pages, serve, intercept };

  const http = createHttpServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      // Uploads may stream for as long as they like; a stalled one is cut by the socket's own idle time.
      requestTimeout: 0,
    },
    createHttpHandler(pipeline, { ...doors, fallback: createOpsHandler(deps) }),
  );
  http.maxConnections = config.maxConnections;
  http.setTimeout(headersTimeoutMs * 8);

  const grpc = createHttp2Server({ settings: { maxConcurrentStreams, maxHeaderListSize: maxHeaderBytes } });
  grpc.maxConnections = config.maxConnections;
  const sessions = new Set<ServerHttp2Session>();
  grpc.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  grpc.on("sessionError", (error) => deps.logger.warn({ err: error }, "gRPC connection failed"));
  grpc.on("stream", createGrpcHandler(pipeline, doors));

  try {
    await listen(http, config.httpPort, config.host);
    await listen(grpc, config.grpcPort, config.host);
  } catch (reason) {
    http.close();
    grpc.close();
    await extensions[Symbol.asyncDispose]();
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
    for (const session of sessions) session.close(); // GOAWAY: streams that run may end
    const cut = setTimeout(() => {
      deps.logger.warn({ inFlight: pipeline.inFlight }, "calls are cut");
      http.closeAllConnections();
      for (const session of sessions) session.destroy();
    }, config.drainMs);
    await closed;
    control[Symbol.dispose]();
    known[Symbol.dispose]();
    await extensions[Symbol.asyncDispose]();
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
