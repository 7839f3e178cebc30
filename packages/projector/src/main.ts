import { brokerOptions, connectBus, probeBroker } from "@millrace/bus";
import { version } from "@millrace/protocol";
import {
  announceSettings,
  createLogger,
  createMetrics,
  followSettings,
  Health,
  loadStoreProcess,
  processSettings,
  runService,
  startOpsServer,
  startTracing,
} from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { projectorMetrics } from "./projector-metrics.ts";
import { startProjector } from "./start-projector.ts";

await runService(async (stopping) => {
  const { config, live } = loadStoreProcess({ env: process.env, argv: process.argv.slice(2) });
  const logger = createLogger({ name: "projector", level: config.logLevel });
  const metrics = createMetrics();
  const health = new Health();
  await using stack = new AsyncDisposableStack();
  stack.use(startTracing({ service: "projector", version, endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const ops = stack.use(await startOpsServer({ host: config.host, port: config.opsPort, health, metrics }));
  const bus = stack.use(await connectBus({ ...brokerOptions("projector", config), logger, signal: stopping }));
  await bus.ensureTopology();
  await bus.requireLogs({ whole: true });
  stack.use(followSettings(bus.kv("settings"), live, logger));
  stack.use(announceSettings(bus.kv("processes"), processSettings("projector", live), logger));
  const store = stack.use(await openStore(config.store));
  const projector = stack.use(await startProjector({}, { bus, store, logger, metrics: projectorMetrics(metrics) }));
  health.check("nats", () => probeBroker(bus));
  health.check("projector", () => projector.status().reason || undefined);
  health.warn("logs", () => projector.status().notice || undefined);
  logger.info({ nats: config.natsUrl, opsPort: ops.port }, "started");
  return stack.move();
});
