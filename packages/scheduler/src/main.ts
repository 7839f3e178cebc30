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
import { schedulerMetrics } from "./scheduler-metrics.ts";
import { startScheduler } from "./start-scheduler.ts";

await runService(async (stopping) => {
  const { config, live } = loadStoreProcess({ env: process.env, argv: process.argv.slice(2) });
  const logger = createLogger({ name: "scheduler", level: config.logLevel });
  const metrics = createMetrics();
  const health = new Health();
  await using stack = new AsyncDisposableStack();
  stack.use(startTracing({ service: "scheduler", version, endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const ops = stack.use(await startOpsServer({ host: config.host, port: config.opsPort, health, metrics }));
  const bus = stack.use(await connectBus({ ...brokerOptions("scheduler", config), logger, signal: stopping }));
  await bus.ensureTopology();
  await bus.requireLogs();
  stack.use(followSettings(bus.kv("settings"), live, logger));
  stack.use(announceSettings(bus.kv("processes"), processSettings("scheduler", live), logger));
  const store = stack.use(await openStore(config.store));
  const scheduler = stack.use(await startScheduler({}, { bus, store, logger, metrics: schedulerMetrics(metrics) }));
  health.check("nats", () => probeBroker(bus));
  health.check("scheduler", () => scheduler.status().reason || undefined);
  logger.info({ nats: config.natsUrl, opsPort: ops.port }, "started");
  return stack.move();
});
