import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { brokerOptions, connectBus } from "@millrace/bus";
import { version } from "@millrace/protocol";
import {
  announceSettings,
  createLogger,
  createMetrics,
  followSettings,
  Health,
  processSettings,
  runService,
  startOpsServer,
  startTracing,
} from "@millrace/service-kit";
import { loadWorkerConfig } from "./config.ts";
import type { JobHandler } from "./job-context.ts";
import { startWorker } from "./start-worker.ts";

await runService(async (stopping) => {
  const { config, live } = loadWorkerConfig({ env: process.env, argv: process.argv.slice(2) });
  const logger = createLogger({ name: "worker", level: config.logLevel });
  const metrics = createMetrics();
  const health = new Health();
  await using stack = new AsyncDisposableStack();
  stack.use(startTracing({ service: "worker", version, endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const ops = stack.use(await startOpsServer({ host: config.host, port: config.opsPort, health, metrics }));
  const bus = stack.use(await connectBus({ ...brokerOptions("worker", config), logger, signal: stopping }));
  stack.use(followSettings(bus.kv("settings"), live, logger));
  stack.use(announceSettings(bus.kv("processes"), processSettings("worker", live), logger));
  const worker = stack.use(
    await startWorker({
      ...config,
      bus,
      handlers: config.handlers === undefined ? {} : await loadHandlers(config.handlers),
      logger,
      metrics,
    }),
  );
  health.check("worker", () => (worker.health().ok ? undefined : worker.status().mode));
  health.warn("queues", () => worker.status().notice || undefined);
  logger.info({ worker: worker.id, queues: config.queues, opsPort: ops.port }, "started");
  return stack.move();
});

async function loadHandlers(path: string): Promise<Record<string, JobHandler>> {
  const module: { handlers?: Record<string, JobHandler> } = await import(pathToFileURL(resolve(path)).href);
  if (module.handlers === undefined) throw new Error(`${path} exports no handlers`);
  return module.handlers;
}
