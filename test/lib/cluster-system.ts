import { connectBus, type Bus } from "@millrace/bus";
import { startTestCluster, type TestCluster } from "@millrace/bus/testing";
import { startProjector } from "@millrace/projector";
import { isTerminal, jobSubject, priorityNames, type Job, type PriorityName } from "@millrace/protocol";
import { openStore, maxPageSize, type Store } from "@millrace/store";
import { startWorker } from "@millrace/worker";
import { startPostgres } from "./postgres.ts";
import { until } from "./until.ts";

/** So long a job waits when what ran it, or its ack, is gone. */
const ackWaitMs = 5000;
/** Callers keep at it over two elections. */
const deliveryTimeoutMs = 90_000;
/** Ends after the load, with the projection behind and leases of killed brokers running out. */
const allEndMs = 120_000;
const lanes = 32;
/** Between two jobs of a lane: the machine also runs three brokers. */
const laneMs = 20;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** How long after a moment the broker took a job, and a worker had it. */
export interface Probe {
  readonly acceptedMs: number;
  readonly startedMs: number;
}

/** A cluster with all streams in three copies, a projector, a worker, and clients that never pause. */
export interface ClusterSystem extends AsyncDisposable {
  readonly cluster: TestCluster;
  readonly store: Store;
  /** One job more, from this moment to its start. */
  probe(priority: PriorityName): Promise<Probe>;
  /** Ends the load, waits until each accepted job has ended, and answers with all rows. */
  finish(): Promise<{ readonly accepted: ReadonlySet<string>; readonly rows: readonly Job[] }>;
}

export async function startClusterSystem(queue: string): Promise<ClusterSystem> {
  await using starting = new AsyncDisposableStack();
  const postgres = await startPostgres();
  if (postgres !== undefined) starting.use(postgres);
  const store = starting.use(
    await openStore(postgres === undefined ? { dataDir: "memory://" } : { databaseUrl: postgres.url }),
  );
  await store.migrate();
  const cluster = starting.use(await startTestCluster());
  const bus = starting.use(await connectBus({ servers: cluster.url, name: "projector" }));
  await bus.ensureTopology({ replicas: 3 });
  // Trimming and reconciling have their turns within a test.
  const often = { trimEveryMs: 2000, keepYoungMs: 2000, reconcileEveryMs: 5000 };
  starting.use(await startProjector(often, { bus, store, logger: silent }));
  const started = new Map<string, () => void>();
  const run = (job: { readonly id: string }): Promise<undefined> => {
    started.get(job.id)?.();
    return Promise.resolve(undefined);
  };
  const handlers = { work: run };
  starting.use(await startWorker({ queues: [queue], natsUrl: cluster.url, executors: 0, ackWaitMs, handlers }));
  const load = starting.use(new Load(await connectBus({ servers: cluster.url, name: "clients" }), queue));
  const running = starting.move();
  return {
    cluster,
    store,
    async probe(priority) {
      const from = performance.now();
      const id = load.nextId();
      const { promise, resolve } = Promise.withResolvers<number>();
      started.set(id, () => resolve(performance.now() - from));
      await load.publish(id, priority);
      const acceptedMs = performance.now() - from;
      const startedMs = await promise;
      started.delete(id);
      return { acceptedMs: Math.round(acceptedMs), startedMs: Math.round(startedMs) };
    },
    async finish() {
      await load.stop();
      const { accepted } = load;
      const rows = await until(
        async () => {
          const found = await rowsOf(store, queue);
          const ended = new Set(found.filter(({ state }) => isTerminal(state)).map(({ id }) => id));
          const open = [...accepted].filter((id) => !ended.has(id));
          if (open.length === 0 && ended.size === found.length) return found;
          throw new Error(
            `${open.length} of ${accepted.size} accepted jobs have not ended: ${open.slice(0, 5).join(", ")}`,
          );
        },
        "each accepted job to end",
        allEndMs,
      );
      return { accepted, rows };
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function rowsOf(store: Store, queue: string): Promise<Job[]> {
  const rows: Job[] = [];
  let token = "";
  do {
    const page = await store.listJobs({ queue }, { size: maxPageSize, token });
    rows.push(...page.jobs);
    token = page.nextPageToken;
  } while (token !== "");
  return rows;
}

/** Clients on one connection, their own, that publish as services without our library do, each one job after the other. */
class Load implements AsyncDisposable {
  /** Ids whose publish was acknowledged. */
  readonly accepted = new Set<string>();
  readonly #bus: Bus;
  readonly #queue: string;
  readonly #lanes: Promise<unknown>;
  #next = 0;
  #stopped = false;

  constructor(bus: Bus, queue: string) {
    this.#bus = bus;
    this.#queue = queue;
    this.#lanes = Promise.all(Array.from({ length: lanes }, () => this.#lane()));
  }

  nextId(): string {
    return `${this.#queue}-${this.#next++}`;
  }

  /** Whoever gets no answer in time does not know whether the job was stored. */
  async publish(id: string, priority: PriorityName): Promise<void> {
    await using publisher = this.#bus.publisher({ deliveryTimeoutMs });
    await publisher.publish({ subject: jobSubject(priority, this.#queue, "work", id), data: new Uint8Array(200) });
    this.accepted.add(id);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#lanes;
  }

  /** What has no answer yet is given up with the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#bus[Symbol.asyncDispose]();
    await this.#lanes;
  }

  async #lane(): Promise<void> {
    while (!this.#stopped) {
      const index = this.#next;
      const priority = priorityNames[index % priorityNames.length] ?? "normal";
      await this.publish(this.nextId(), priority).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, laneMs));
    }
  }
}
