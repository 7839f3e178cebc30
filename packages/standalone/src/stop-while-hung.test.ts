/** Whatever hangs, and whatever is under way: every service stops within a bound, which docs/operating.md tells. */
import { setTimeout as delay } from "node:timers/promises";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { controlPipeline, startControl } from "@millrace/control";
import { gatewaySettings, startGateway } from "@millrace/gateway";
import { startIdentity } from "@millrace/identity";
import { startProjector } from "@millrace/projector";
import { JobService } from "@millrace/protocol";
import { createClient, createDirectTransport, openNatsTransport, serveNats } from "@millrace/rpc";
import { startScheduler } from "@millrace/scheduler";
import { createLogger, createMetrics, Health, loadConfig, stopWithinMs, z } from "@millrace/service-kit";
import { openStore, type Store } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres, type TestPostgres } from "@millrace/store/testing";
import { startWorker } from "@millrace/worker";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

/** On a busy machine, beyond each bound. */
const slackMs = 2500;
const drainMs = 1000;
/** Every beat has begun its work by then. */
const beatMs = 50;
const midstMs = 6 * beatMs;
const binaries = findPostgresBinaries();

let nats: TestNats;
let postgres: TestPostgres | undefined;
beforeAll(async () => {
  nats = await startTestNats();
  if (binaries !== undefined) postgres = await startTestPostgres(binaries);
}, 60_000);
afterEach(() => {
  nats.thaw();
  postgres?.thaw();
});
afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
}, 60_000);

interface Started {
  readonly service: AsyncDisposable;
  /** Of its own, as in a process of its own. */
  readonly bus: AsyncDisposable;
  readonly withinMs: number;
}

interface System {
  readonly store: Store;
  readonly services: ReadonlyMap<string, Started>;
  /** Lines of the log that tell of parts that were left behind. */
  readonly late: readonly string[];
}

/** All services at work, and a job in hand that does not end. */
async function startSystem(): Promise<System> {
  const late: string[] = [];
  const write = (line: string): void => {
    if (line.includes("left behind")) late.push(line);
  };
  const logger = createLogger({ name: "stops", level: "warn", destination: { write } });
  const [metrics, health] = [createMetrics(), new Health()];
  const store = await openStore(postgres === undefined ? { dataDir: "memory://" } : { databaseUrl: postgres.url });
  await store.migrate();
  const services = new Map<string, Started>();
  const connect = async (name: string): Promise<Bus> => {
    const bus = await connectBus({ servers: nats.url, name });
    await bus.ensureTopology();
    return bus;
  };
  const add = (name: string, service: AsyncDisposable, bus: AsyncDisposable, withinMs = stopWithinMs): void => {
    services.set(name, { service, bus, withinMs });
  };
  const buses = await Promise.all(["projector", "scheduler", "control", "worker"].map(connect));
  const [forProjector, forScheduler, forControl, forWorker] = buses as [Bus, Bus, Bus, Bus];

  const soon = { trimEveryMs: beatMs, keepYoungMs: beatMs, reconcileEveryMs: beatMs, consumerIdleMs: beatMs };
  add("projector", await startProjector(soon, { bus: forProjector, store, logger }), forProjector);
  const scheduler = await startScheduler({ recheckMs: beatMs }, { bus: forScheduler, store, logger });
  add("scheduler", scheduler, forScheduler);
  const control = await startControl(
    { cancelSweepMs: beatMs, auditPruneMs: beatMs, markPatienceMs: 0, markKeepMs: beatMs },
    { bus: forControl, store, logger, metrics, health },
  );
  const pipeline = controlPipeline(control);
  const doors = serveNats(forControl, pipeline);
  const controlProcess = new AsyncDisposableStack();
  controlProcess.use(control);
  controlProcess.use(doors);
  // Its doors drain before.
  add("control", { [Symbol.asyncDispose]: () => controlProcess.disposeAsync() }, forControl, stopWithinMs + 4000);
  const identity = await startIdentity({ memberBeatMs: beatMs, revocationPollMs: beatMs }, { store, logger, health });
  add("identity", identity, { async [Symbol.asyncDispose]() {} });
  const begun = Promise.withResolvers<void>();
  const handlers = {
    endless: () => {
      begun.resolve();
      return new Promise<void>(() => undefined);
    },
  };
  const worker = await startWorker({
    bus: forWorker,
    queues: ["default"],
    handlers,
    executors: 1,
    drainTimeoutMs: drainMs,
    ackWaitMs: 3000,
    logger,
  });
  add("worker", worker, forWorker, drainMs + stopWithinMs);
  const transport = await openNatsTransport("gateway", { natsUrl: nats.url });
  const { values } = loadConfig(z.object(gatewaySettings), { env: {}, argv: [] });
  const gateway = await startGateway(
    { ...values, identity: "off", httpPort: 0, grpcPort: 0, drainMs },
    { transport, metrics: createMetrics(), health, logger },
  );
  add("gateway", gateway, transport, drainMs + stopWithinMs);

  const jobs = createClient(JobService, createDirectTransport(pipeline));
  await jobs.submitJob({ type: "endless" });
  const parked = await jobs.submitJob({ type: "nobody_handles" });
  await jobs.cancelJob({ id: parked.id });
  await begun.promise;
  return { store, services, late };
}

async function stopMs(what: AsyncDisposable): Promise<number> {
  const startedAt = performance.now();
  await what[Symbol.asyncDispose]();
  return performance.now() - startedAt;
}

async function timesOf(parts: ReadonlyMap<string, AsyncDisposable>): Promise<Record<string, number>> {
  const times = [...parts].map(async ([name, part]) => [name, Math.round(await stopMs(part))] as const);
  return Object.fromEntries(await Promise.all(times));
}

/** Stops everything, and holds each to its bound. */
async function stopAll({ store, services }: System): Promise<void> {
  const stopped = await timesOf(new Map([...services].map(([name, { service }]) => [name, service])));
  const closed = await timesOf(new Map([...services].map(([name, { bus }]) => [name, bus])));
  const storeMs = await stopMs(store);
  const shown = JSON.stringify({ stopped, closed, storeMs });
  for (const [name, { withinMs }] of services) {
    expect(stopped[name], `${name}: ${shown}`).toBeLessThan(withinMs + slackMs);
    expect(closed[name], `bus of ${name}: ${shown}`).toBeLessThan(5000 + slackMs);
  }
  expect(storeMs, shown).toBeLessThan(2000 + slackMs);
}

// Parts that wait for each other are late each time; on a starved machine, any part may be late once.
test("in the midst of their beats all services stop in order", { timeout: 90_000, retry: 2 }, async () => {
  const system = await startSystem();
  await delay(midstMs);
  await stopAll(system);
  expect(system.late).toEqual([]);
});

test("all services stop in time while the broker hangs", { timeout: 90_000 }, async () => {
  const system = await startSystem();
  nats.freeze();
  await delay(midstMs);
  await stopAll(system);
});

describe.skipIf(binaries === undefined)("with a server for a database", () => {
  test("all services stop in time while the database hangs", { timeout: 90_000 }, async () => {
    const system = await startSystem();
    postgres?.freeze();
    await delay(midstMs);
    await stopAll(system);
  });

  test("all services stop in time while both hang", { timeout: 90_000 }, async () => {
    const system = await startSystem();
    postgres?.freeze();
    nats.freeze();
    await delay(midstMs);
    await stopAll(system);
  });
});
