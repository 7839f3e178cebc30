import { availableParallelism } from "node:os";
import { join } from "node:path";
import { connectBus } from "@millrace/bus";
import { controlPipeline, startControl } from "@millrace/control";
import { readGatewayConfig, startGateway } from "@millrace/gateway";
import { projectorMetrics, startProjector } from "@millrace/projector";
import { createDirectTransport, serveNats } from "@millrace/rpc";
import { startScheduler } from "@millrace/scheduler";
import { createMetrics, Health, startTracing, type Logger } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { startWorker } from "@millrace/worker";
import { checkPort } from "./check-port.ts";
import type { StandaloneConfig } from "./config.ts";
import { deployPlugins } from "./deploy-plugins.ts";
import { provideNats } from "./provide-nats.ts";
import { watchPlugins } from "./watch-plugins.ts";
import { writeRuntimeFile } from "./runtime-file.ts";
import { untilReady } from "./until-ready.ts";

export interface Standalone extends AsyncDisposable {
  readonly httpUrl: string;
  /** `host:port`. */
  readonly grpcAddress: string;
  readonly natsUrl: string;
  /** Names of those that serve. */
  readonly plugins: readonly string[];
  readonly logFile: string | undefined;
  /** What is missing though the system has started; empty when it is ready. */
  readonly missing: string;
}

/**
 * All services in one process, on a real nats-server and a real database. The gateway reaches control by function calls;
 * everything else is as with many processes.
 */
export async function startStandalone(
  config: StandaloneConfig,
  {
    logger,
    logFile,
    signal = new AbortController().signal,
    say = () => undefined,
  }: { logger: Logger; logFile?: string | undefined; signal?: AbortSignal; say?: (line: string) => void },
): Promise<Standalone> {
  const { host, httpPort, grpcPort, dataDir, databaseUrl, pluginSignatures, pluginsDir } = config;
  await checkPort(host, httpPort, "MILLRACE_HTTP_PORT", "REST");
  await checkPort(host, grpcPort, "MILLRACE_GRPC_PORT", "gRPC");
  await using starting = new AsyncDisposableStack();
  starting.use(startTracing({ service: "millrace", endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const metrics = createMetrics();
  const health = new Health();

  const store = starting.use(
    await openStore(databaseUrl === undefined ? { dataDir: join(dataDir, "postgres") } : { databaseUrl }),
  );
  // The database starts while the broker does; whoever fails first is heard below.
  const migrated = store.migrate();
  migrated.catch(() => undefined);
  const nats = starting.use(await provideNats(config, logger));
  const bus = starting.use(await connectBus({ servers: nats.url, name: "standalone", logger }));
  await bus.ensureTopology();
  await migrated;

  const projector = starting.use(await startProjector({}, { bus, store, logger, metrics: projectorMetrics(metrics) }));
  health.check("projector", () => projector.status().reason || undefined);
  const scheduler = starting.use(await startScheduler({}, { bus, store, logger }));
  health.check("scheduler", () => scheduler.status().reason || undefined);
  const control = starting.use(await startControl({ pluginSignatures }, { bus, store, logger, metrics, health }));
  const pipeline = controlPipeline(control);
  starting.use(serveNats(bus, pipeline));
  const transport = createDirectTransport(pipeline);
  const executors = config.executors || Math.max(1, Math.floor(availableParallelism() / 2));
  const { queues, pluginHttpPrivate, secretsFile } = config;
  const worker = starting.use(
    await startWorker({ queues, executors, pluginSignatures, pluginHttpPrivate, secretsFile, bus, logger, metrics }),
  );
  health.check("worker", () => (worker.health().ok ? undefined : worker.status().mode));
  if (config.watchPlugins && pluginsDir !== "") {
    starting.use(await watchPlugins(pluginsDir, { bus, transport, logger, say }));
  }
  // Behind the worker, which runs their hooks.
  const plugins = await deployPlugins(pluginsDir, { bus, transport, logger });
  const gateway = starting.use(
    await startGateway({ ...readGatewayConfig(), host, httpPort, grpcPort }, { transport, health, metrics, logger }),
  );
  const { httpUrl, grpcAddress } = gateway;
  const natsUrl = nats.url;
  starting.use(await writeRuntimeFile(dataDir, { pid: process.pid, httpUrl, grpcAddress, natsUrl }));
  const missing = await untilReady(health, signal);
  const running = starting.move();
  return {
    httpUrl,
    grpcAddress,
    natsUrl,
    plugins,
    logFile,
    missing,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
