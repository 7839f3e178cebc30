import { brokerOptions, connectBus, probeBroker } from "@millrace/bus";
import { createPipeline, listenGrpc, serveNats } from "@millrace/rpc";
import {
  announceSettings,
  createLogger,
  createMetrics,
  followSettings,
  grpcSecurityOf,
  Health,
  processSettings,
  runService,
  startOpsServer,
  startTracing,
} from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { identityConfigOf, loadProcessConfig } from "./process-config.ts";
import { readKeySecrets } from "./read-key-secrets.ts";
import { startIdentity } from "./start-identity.ts";
import { waitForDatabase } from "./wait-for-database.ts";

await runService(async (stopping) => {
  const live = loadProcessConfig({ env: process.env, argv: process.argv.slice(2) });
  const { values } = live;
  const { host, natsUrl, databaseUrl, databaseSchema, opsPort, grpcPort, logLevel, otlpEndpoint, traceRatio } = values;
  await using starting = new AsyncDisposableStack();
  const logger = createLogger({ name: "identity", level: logLevel });
  const health = new Health();
  const part = health.part("identity");
  starting.use(startTracing({ service: "identity", endpoint: otlpEndpoint, ratio: traceRatio }));
  starting.use(await startOpsServer({ host, port: opsPort, health, metrics: createMetrics() }));
  const bus = starting.use(await connectBus({ ...brokerOptions("identity", values), logger, signal: stopping }));
  const store = starting.use(await openStore({ databaseUrl, schema: databaseSchema }));
  await bus.refuseFormerJobs();
  await waitForDatabase(
    () => store.migrate(),
    stopping,
    (err, before) => {
      part.missing(err.message);
      if (before === 0) logger.warn({ err }, "waiting for the database");
    },
  );
  starting.use(announceSettings(bus.kv("processes"), processSettings("identity", live), logger));
  const settings = starting.use(followSettings(bus.kv("settings"), live, logger));
  // Nobody must get in by what was forbidden before a restart.
  settings.assume(new Map((await store.settings.list()).map(({ name, value }) => [name, value])));
  const keySecrets = await readKeySecrets(values);
  if (keySecrets.length === 0) logger.warn("signing keys are stored in plain: set MILLRACE_KEY_SECRET_FILE");
  const identity = starting.use(
    await startIdentity({ ...identityConfigOf(values), keySecrets }, { store, logger, health }),
  );
  starting.use(health.check("nats", () => probeBroker(bus)));
  const first = await identity.ensureAdministrator();
  // Not into the log, which is kept and read by others.
  if (first !== undefined) process.stdout.write(`administrator ${first.email}, one-time password ${first.password}\n`);
  const pipeline = createPipeline({ services: identity.services });
  starting.use(serveNats(bus, pipeline));
  if (grpcPort !== undefined) {
    starting.use(await listenGrpc(pipeline, { host, port: grpcPort }, grpcSecurityOf(values), logger));
  }
  part.ready();
  logger.info({ natsUrl, grpcPort }, "identity serves");
  return starting.move();
});
