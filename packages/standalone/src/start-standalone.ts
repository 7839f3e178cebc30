import { availableParallelism } from "node:os";
import { join } from "node:path";
import { connectBus } from "@millrace/bus";
import { controlPipeline, startControl } from "@millrace/control";
import { defaultGatewayConfig, startGateway } from "@millrace/gateway";
import { startProjector } from "@millrace/projector";
import { createDirectTransport, serveNats } from "@millrace/rpc";
import { startScheduler } from "@millrace/scheduler";
import { createMetrics, createOpsHandler, Health, startTracing, type Logger } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { startWorker } from "@millrace/worker";
import { checkPort } from "./check-port.ts";
import type { StandaloneConfig } from "./config.ts";
import { deployPlugins } from "./deploy-plugins.ts";
import { provideNats } from "./provide-nats.ts";

export interface Standalone extends AsyncDisposable {
  readonly httpUrl: string;
  /** `host:port`. */
  readonly grpcAddress: string;
  readonly natsUrl: string;
  /** Names of those that serve. */
  readonly plugins: readonly string[];
  readonly logFile: string | undefined;
}

/**
 * All services in one process, on a real nats-server and a real database. The gateway reaches control by function calls;
 * everything else is as with many processes.
 */
export async function startStandalone(
  config: StandaloneConfig,
  { logger, logFile }: { logger: Logger; logFile?: string | undefined },
): Promise<Standalone> {
  const { host, httpPort, grpcPort, dataDir, databaseUrl } = config;
  await checkPort(host, httpPort, "MILLRACE_HTTP_PORT", "REST");
  await checkPort(host, grpcPort, "MILLRACE_GRPC_PORT", "gRPC");
  await using starting = new AsyncDisposableStack();
  starting.use(startTracing({ service: "millrace", endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const metrics = createMetrics();
  const health = new Health();

  const [nats, store] = await Promise.all([
    provideNats(config, logger).then((server) => starting.use(server)),
    openStore(databaseUrl === undefined ? { dataDir: join(dataDir, "postgres") } : { databaseUrl }).then(async (store) => {
      starting.use(store);
      await store.migrate();
      return store;
    }),
  ]);
  const bus = starting.use(await connectBus({ servers: nats.url, name: "standalone", logger }));
  await bus.ensureTopology();

  const projector = starting.use(await startProjector({}, { bus, store, logger }));
  health.check("projector", () => projector.status().reason || undefined);
  const scheduler = starting.use(await startScheduler({}, { bus, store, logger }));
  health.check("scheduler", () => scheduler.status().reason || undefined);
  const control = starting.use(await startControl({}, { bus, store, logger, metrics, health }));
  const pipeline = controlPipeline(control);
  starting.use(serveNats(bus, pipeline));
  const transport = createDirectTransport(pipeline);
  const plugins = await deployPlugins(config.pluginsDir, { bus, transport, logger });
  const executors = config.executors || Math.max(1, Math.floor(availableParallelism() / 2));
  starting.use(await startWorker({ queues: config.queues, executors }, { bus, logger, metrics, health }));
  const gateway = starting.use(
    await startGateway(
      { ...defaultGatewayConfig, host, httpPort, grpcPort },
      { transport, ops: createOpsHandler({ health, metrics }), logger },
    ),
  );
  const running = starting.move();
  return {
    httpUrl: gateway.httpUrl,
    grpcAddress: gateway.grpcAddress,
    natsUrl: nats.url,
    plugins,
    logFile,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
