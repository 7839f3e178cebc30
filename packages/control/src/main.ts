import { brokerOptions, connectBus } from "@millrace/bus";
import { listenGrpc, serveNats } from "@millrace/rpc";
import {
  createLogger,
  createMetrics,
  grpcSecurityOf,
  Health,
  LiveConfig,
  loadConfig,
  runService,
  startOpsServer,
  startTracing,
} from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { controlPipeline } from "./control-pipeline.ts";
import { processConfig } from "./process-config.ts";
import { startControl } from "./start-control.ts";

await runService(async (stopping) => {
  const loaded = loadConfig(processConfig, { env: process.env, argv: process.argv.slice(2) });
  const { values } = loaded;
  const {
    host,
    natsUrl,
    databaseUrl,
    databaseSchema,
    opsPort,
    grpcPort,
    pluginSignatures,
    logLevel,
    otlpEndpoint,
    traceRatio,
  } = values;
  await using starting = new AsyncDisposableStack();
  const logger = createLogger({ name: "control", level: logLevel });
  const metrics = createMetrics();
  const health = new Health();
  const part = health.part("control");
  starting.use(startTracing({ service: "control", endpoint: otlpEndpoint, ratio: traceRatio }));
  starting.use(await startOpsServer({ host, port: opsPort, health, metrics }));
  const bus = starting.use(await connectBus({ ...brokerOptions("control", values), logger, signal: stopping }));
  await bus.ensureTopology();
  await bus.requireLogs();
  const store = starting.use(await openStore({ databaseUrl, schema: databaseSchema }));
  const live = new LiveConfig(processConfig, loaded);
  const control = starting.use(await startControl({ pluginSignatures }, { bus, store, logger, metrics, health, live }));
  const pipeline = controlPipeline(control);
  starting.use(serveNats(bus, pipeline));
  if (grpcPort !== undefined) {
    starting.use(await listenGrpc(pipeline, { host, port: grpcPort }, grpcSecurityOf(values), logger));
  }
  part.ready();
  logger.info({ natsUrl, grpcPort }, "control serves");
  return starting.move();
});
