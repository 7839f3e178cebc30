import { ActorSystem, type Health } from "@millrace/actor";
import { connectBus, type Bus, type BusLogger } from "@millrace/bus";
import { PartStack } from "@millrace/service-kit";
import { SecretVault } from "./host-services/secret-vault.ts";
import type { WorkerCommand } from "./worker-command.ts";
import { WorkerEngine } from "./worker-engine.ts";
import { resolveWorkerOptions, type WorkerOptions } from "./worker-options.ts";
import { WorkerTelemetry } from "./worker-telemetry.ts";
import { workerTree } from "./worker-tree.ts";

/** What a worker says about itself. */
export interface WorkerStatus {
  readonly id: string;
  readonly mode: "running" | "draining" | "stopped";
  readonly queues: readonly string[];
  /** Of very many queues, those that nothing came for lately. */
  readonly asleep: number;
  /** Queues that the broker delivers nothing of for now, at one priority or more: nobody leads their consumers. */
  readonly unserved: readonly string[];
  /** What people should look after; empty when there is nothing. */
  readonly notice: string;
  readonly paused: readonly string[];
  readonly types: readonly string[];
  readonly plugins: readonly string[];
  readonly slots: number;
  readonly executors: number;
  /** Begun and not ended. */
  readonly running: number;
  /** Pulled and not begun. */
  readonly waiting: number;
  /** Held because nothing handles their type. */
  readonly parked: number;
  /** Held until their next attempt. */
  readonly retrying: number;
  /** In hand, from pull to ack. */
  readonly held: number;
  readonly settled: number;
  /** Pulled, and looked up before they run: they may have ended before. */
  readonly lookingUp: number;
  /** Jobs that were looked up, and those of them that had ended or moved. */
  readonly lookedUp: number;
  readonly foundOver: number;
  /** Deliveries in a format that it does not read, by format; each is given back. */
  readonly unknownFormats: Readonly<Record<string, number>>;
  /** How far the clock of its machine is ahead of the broker's, ms. */
  readonly clockSkewMs: number;
  readonly executorKills: number;
  /** Plugin calls that wait for host functions. */
  readonly suspended: number;
}

/** A running worker. Disposing it drains first; then it stops within 5 s, whatever the broker does, and closes a bus of its own. */
export interface Worker extends AsyncDisposable {
  readonly id: string;
  status(): WorkerStatus;
  /** The supervision tree, place by place. */
  health(): Health;
  /** Without a queue: all. Only this worker; a queue is paused everywhere through its settings. */
  pause(queue?: string): void;
  resume(queue?: string): void;
  /** Takes nothing new; resolves when everything in hand has ended, or the drain timeout has passed. */
  drain(): Promise<void>;
}

/** Queues in one notice. */
const mostNamed = 10;
const silent: BusLogger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Starts a worker: it pulls jobs of its queues by priority, runs them by native handlers or plugins, and settles them.
 *
 * @throws BusError when NATS cannot be reached, RangeError on options that cannot be meant, or secrets that others may read
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const settings = resolveWorkerOptions(options);
  const logger = options.logger ?? silent;
  const telemetry = new WorkerTelemetry(logger, options.metrics);
  await using stack = new AsyncDisposableStack();
  const bus = options.bus ?? stack.use(await connect(options, settings.id, logger));
  await bus.ensureTopology();
  await bus.requireLogs();
  const secrets = await SecretVault.open({
    env: process.env,
    ...(options.secretsFile === undefined ? {} : { file: options.secretsFile }),
  });
  const parts = stack.use(new PartStack({ logger }));
  const engine = parts.use(new WorkerEngine(settings, bus, telemetry, secrets));
  const unserved = (): string[] => [...new Set(engine.intake.silent.map(({ queue }) => queue))];
  const status = (): WorkerStatus => ({
    id: settings.id,
    mode: engine.mode,
    queues: settings.queues,
    asleep: engine.intake.asleep,
    unserved: unserved(),
    notice: noticeOf(unserved()),
    paused: [...engine.pausedQueues],
    types: Object.keys(settings.handlers),
    plugins: engine.plugins.catalog.plugins,
    slots: settings.slots,
    executors: engine.plugins.pool.size,
    running: engine.running,
    waiting: engine.waiting,
    parked: engine.parked.size,
    retrying: engine.endings.open,
    held: engine.leases.size,
    settled: engine.settled,
    lookingUp: engine.lookups.size,
    lookedUp: engine.lookups.asked,
    foundOver: engine.lookups.dropped,
    unknownFormats: engine.unknownFormats.counts,
    clockSkewMs: bus.clock.skewMs,
    suspended: engine.plugins.pool.waiting,
    executorKills: engine.plugins.pool.kills,
  });
  const setPaused = (queue: string | undefined, paused: boolean): void => {
    for (const name of queue === undefined ? settings.queues : [queue]) {
      if (settings.queues.includes(name)) engine.setPaused(name, paused);
    }
  };
  const carryOut = async (command: WorkerCommand): Promise<object> => {
    if (command.command === "cancel") engine.cancel(command.id, command.run);
    else if (command.command === "drain") await engine.drain();
    else if (command.command === "pause" || command.command === "resume")
      setPaused(command.queue, command.command === "pause");
    return status();
  };

  const system = new ActorSystem(workerTree(engine, carryOut), {
    onFailure: (path, error) => telemetry.failure(path, error),
    onGivenUp: (error) => {
      engine.mode = "stopped";
      telemetry.failure("worker", error);
    },
  });
  parts.use(system);
  await system.start();
  // Commands reach a worker that has said it is started.
  await bus.flush();
  if (options.metrics !== undefined)
    parts.use(options.metrics.beforeScrape(gauges(options.metrics, settings.queues, status)));
  const owned = stack.move();
  let stopping: Promise<void> | undefined;
  return {
    id: settings.id,
    status,
    health: () => system.health(),
    pause: (queue) => setPaused(queue, true),
    resume: (queue) => setPaused(queue, false),
    drain: () => engine.drain(),
    [Symbol.asyncDispose]: () => (stopping ??= engine.drain().then(() => owned.disposeAsync())),
  };
}

function noticeOf(unserved: readonly string[]): string {
  if (unserved.length === 0) return "";
  const named = unserved.slice(0, mostNamed).join(", ");
  const more = unserved.length > mostNamed ? ` and ${unserved.length - mostNamed} more` : "";
  return `no server of the broker delivers jobs of ${named}${more}: their consumers have no leader`;
}

function gauges(
  metrics: NonNullable<WorkerOptions["metrics"]>,
  queues: readonly string[],
  status: () => WorkerStatus,
): () => void {
  return () => {
    const { running, held, executors, suspended, clockSkewMs } = status();
    metrics.clockSkew.set(clockSkewMs / 1000);
    metrics.jobsRunning.set({ queue: queues.join(",") }, running);
    metrics.leases.set(held);
    metrics.workers.set(1);
    metrics.executors.set({ state: "idle" }, Math.max(0, executors - running));
    metrics.executors.set({ state: "busy" }, Math.min(executors, running));
    metrics.pluginCallsWaiting.set(suspended);
  };
}

function connect(options: WorkerOptions, id: string, logger: BusLogger): Promise<Bus> {
  if (options.natsUrl === undefined) throw new RangeError("a worker needs natsUrl or bus");
  return connectBus({ servers: options.natsUrl, name: `worker ${id}`, logger });
}
