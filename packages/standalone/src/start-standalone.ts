import { availableParallelism } from "node:os";
import { join } from "node:path";
import { connectBus, StoreDisk, topologyOptions, type BusOptions } from "@millrace/bus";
import { controlPipeline, startControl } from "@millrace/control";
import { startGateway } from "@millrace/gateway";
import { identityConfigOf, startIdentity, type FirstAdministrator } from "@millrace/identity";
import { projectorMetrics, startProjector } from "@millrace/projector";
import { createDirectTransport, createPipeline, serveNats, type RpcTransport } from "@millrace/rpc";
import { schedulerMetrics, startScheduler } from "@millrace/scheduler";
import { createMetrics, Health, startTracing, type LiveConfig, type Logger } from "@millrace/service-kit";
import { openStore, type Store } from "@millrace/store";
import { startWorker } from "@millrace/worker";
import { checkPort } from "./check-port.ts";
import type { StandaloneConfig, standaloneSettings } from "./config.ts";
import { deployPlugins } from "./deploy-plugins.ts";
import { keepCredentials } from "./keep-credentials.ts";
import { makeDataDir } from "./make-data-dir.ts";
import { keepKeySecrets } from "./keep-key-secrets.ts";
import { provideNats } from "./provide-nats.ts";
import { watchPlugins } from "./watch-plugins.ts";
import { writeRuntimeFile } from "./runtime-file.ts";
import { untilReady } from "./until-ready.ts";

/** How people and programs come in. */
export interface Access {
  /** Set once, at the first start. */
  readonly administrator: FirstAdministrator | undefined;
  /** Holds an administrator's token; undefined when there is no administrator. */
  readonly credentialsFile: string | undefined;
}

export interface Standalone extends AsyncDisposable {
  readonly httpUrl: string;
  /** `host:port`. */
  readonly grpcAddress: string;
  readonly natsUrl: string;
  /** Names of those that serve. */
  readonly plugins: readonly string[];
  readonly logFile: string | undefined;
  /** Undefined when identity is off: nobody is asked who they are. */
  readonly access: Access | undefined;
  /** What is missing though the system has started; empty when it is ready. */
  readonly missing: string;
}

export interface StandaloneOptions {
  readonly logger: Logger;
  readonly logFile?: string | undefined;
  readonly signal?: AbortSignal;
  /** One line for the person who develops plugins. */
  readonly say?: (line: string) => void;
}

/**
 * All services in one process, on a real nats-server and a real database. The gateway reaches control by function calls;
 * everything else is as with many processes.
 * @param live settings that change while the system runs are looked up anew each time
 */
export async function startStandalone(
  live: LiveConfig<typeof standaloneSettings>,
  { logger, logFile, signal = new AbortController().signal, say = () => undefined }: StandaloneOptions,
): Promise<Standalone> {
  const config: StandaloneConfig = live.values;
  const { host, httpPort, grpcPort, dataDir, databaseUrl, pluginSignatures, pluginsDir } = config;
  await checkPort(host, httpPort, "MILLRACE_HTTP_PORT", "REST");
  await checkPort(host, grpcPort, "MILLRACE_GRPC_PORT", "gRPC");
  await makeDataDir(dataDir);
  await using starting = new AsyncDisposableStack();
  starting.use(startTracing({ service: "millrace", endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const metrics = createMetrics();
  const health = new Health();

  const store = starting.use(
    await openStore(
      databaseUrl === undefined
        ? { dataDir: join(dataDir, "postgres") }
        : { databaseUrl, schema: config.databaseSchema },
    ),
  );
  // The database starts while the broker does. What fails is heard below.
  const started = store.ping().catch(() => undefined);
  const nats = starting.use(await provideNats(config, logger));
  // Of our own server we know the disk.
  if (nats.pid !== undefined) {
    const disk = starting.use(new StoreDisk(storeDirOf(config), { logger }));
    health.check("broker's disk", () => disk.reason);
    health.warn("broker's disk", () => disk.alarm);
  }
  const bus = starting.use(await connectBus({ ...busOptions(config, nats.url), logger, signal }));
  // First: a broker that is refused (a former version's streams hold jobs) must find the database as it was, so that the former
  // version can still be started.
  await bus.ensureTopology();
  await started;
  await store.migrate();

  const projector = starting.use(await startProjector({}, { bus, store, logger, metrics: projectorMetrics(metrics) }));
  health.check("projector", () => projector.status().reason || undefined);
  health.warn("logs", () => projector.status().notice || undefined);
  const scheduler = starting.use(await startScheduler({}, { bus, store, logger, metrics: schedulerMetrics(metrics) }));
  health.check("scheduler", () => scheduler.status().reason || undefined);
  const control = starting.use(await startControl({ pluginSignatures }, { bus, store, logger, metrics, health, live }));
  const pipeline = controlPipeline(control);
  starting.use(serveNats(bus, pipeline));
  const transport = createDirectTransport(pipeline);
  const executors = config.executors || Math.max(1, Math.floor(availableParallelism() / 2));
  const { queues, pluginMemoryPages, pluginHttpPrivate, pluginNameServers, secretsFile } = config;
  const trust = { pluginSignatures, pluginMemoryPages, pluginHttpPrivate, pluginNameServers, secretsFile };
  const worker = starting.use(await startWorker({ queues, executors, ...trust, bus, logger, metrics }));
  health.check("worker", () => (worker.health().ok ? undefined : worker.status().mode));
  health.warn("queues", () => worker.status().notice || undefined);
  if (config.watchPlugins && pluginsDir !== "") {
    starting.use(await watchPlugins(pluginsDir, { bus, transport, logger, say }));
  }
  // Behind the worker, which runs their hooks.
  const plugins = await deployPlugins(pluginsDir, { bus, transport, logger });
  const identity =
    config.identity === "off" ? undefined : starting.use(await serveIdentity(config, { store, logger, health }));
  const gateway = starting.use(
    await startGateway(config, {
      transport,
      health,
      metrics,
      logger,
      ...(identity === undefined ? {} : { identityTransport: identity.transport }),
    }),
  );
  const { httpUrl, grpcAddress } = gateway;
  const natsUrl = nats.url;
  // Commands on this machine publish by it without a prefix.
  const plain = config.natsPrefix === undefined && config.natsDomain === undefined;
  const runtime = { pid: process.pid, httpUrl, grpcAddress, natsUrl: plain ? natsUrl : "" };
  starting.use(await writeRuntimeFile(dataDir, runtime));
  const missing = await untilReady(health, signal);
  const running = starting.move();
  return {
    httpUrl,
    grpcAddress,
    natsUrl,
    plugins,
    logFile,
    access: identity?.access,
    missing,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function busOptions(config: StandaloneConfig, servers: string): BusOptions {
  const { natsPrefix, natsDomain, natsUrl } = config;
  const storeDir = natsUrl === undefined ? storeDirOf(config) : undefined;
  return {
    servers,
    name: "standalone",
    topology: { ...topologyOptions(config), storeDir },
    ...(natsPrefix === undefined ? {} : { prefix: natsPrefix }),
    ...(natsDomain === undefined ? {} : { domain: natsDomain }),
  };
}

function storeDirOf({ dataDir }: StandaloneConfig): string {
  return join(dataDir, "nats");
}

/** Only the gateway reaches it: not even the broker, which anybody on this machine may use, leads to it. */
async function serveIdentity(
  config: StandaloneConfig,
  deps: { readonly store: Store; readonly logger: Logger; readonly health: Health },
): Promise<AsyncDisposable & { readonly transport: RpcTransport; readonly access: Access }> {
  await using starting = new AsyncDisposableStack();
  const keySecrets = await keepKeySecrets(config);
  const identity = starting.use(await startIdentity({ ...identityConfigOf(config), keySecrets }, deps));
  const transport = createDirectTransport(createPipeline({ services: identity.services }));
  const administrator = await identity.ensureAdministrator();
  const credentialsFile = await keepCredentials(config.dataDir, identity, transport);
  const running = starting.move();
  return {
    transport,
    access: { administrator, credentialsFile },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
