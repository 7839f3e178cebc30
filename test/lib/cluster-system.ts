import { connectBus, type Bus } from "@millrace/bus";
import { startTestCluster, TestElections, type TestCluster } from "@millrace/bus/testing";
import { startProjector } from "@millrace/projector";
import {
  isTerminal,
  jobStream,
  jobSubject,
  priorityNames,
  queueConsumer,
  type Job,
  type PriorityName,
} from "@millrace/protocol";
import { openStore, maxPageSize, type Store } from "@millrace/store";
import { startWorker, type Worker } from "@millrace/worker";
import { startPostgres } from "./postgres.ts";
import { until } from "./until.ts";

/** So long a job waits when what ran it, or its ack, is gone. */
const ackWaitMs = 5000;
/** Callers keep at it over two elections. */
const deliveryTimeoutMs = 90_000;
/** Ends after the load, with the projection behind and leases of killed brokers running out. */
const allEndMs = 120_000;
/** Clients whose server hangs publish little meanwhile: the load goes on until so much was accepted, and no longer than that. */
const leastAccepted = 1000;
const loadMs = 60_000;
const lanes = 32;
/** Between two jobs of a lane: the machine also runs three brokers. */
const laneMs = 20;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** When a job was published, when the broker had taken it, when a worker had it, and when that ran it, all Unix ms. */
export interface Probe {
  readonly priority: PriorityName;
  readonly publishedMs: number;
  readonly acceptedMs: number;
  readonly deliveredMs: number;
  readonly startedMs: number;
}

/** What a caller and a worker saw of a trouble, ms after it began. */
export interface Seen {
  readonly publishedMs: number;
  /** When the log had its leader, if it lost the one it had before the job was taken; else 0. */
  readonly streamElectedMs: number;
  readonly acceptedMs: number;
  /** When the queue's consumer had its leader, likewise. */
  readonly consumerElectedMs: number;
  readonly deliveredMs: number;
  /** What may be a repeat is looked up before. */
  readonly startedMs: number;
}

/** A cluster with all streams in three copies, a projector, a worker, and clients that never pause. */
export interface ClusterSystem extends AsyncDisposable {
  readonly cluster: TestCluster;
  readonly elections: TestElections;
  /** The connections of all who take part, by their names. */
  readonly buses: readonly (readonly [string, Bus])[];
  readonly store: Store;
  readonly worker: Worker;
  /** One job more, from this moment to its start. */
  probe(priority: PriorityName): Promise<Probe>;
  /** How a job fared after what happened at a moment, Unix ms, beside the elections that it had to wait for. */
  seen(probe: Probe, sinceMs: number): Seen;
  /** Ends the load once it was one, waits until each accepted job has ended, and answers with all rows. */
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
  const elections = starting.use(await TestElections.start(cluster.nodes.map(({ url }) => url)));
  const connectAs = (name: string): Promise<Bus> => connectBus({ servers: cluster.url, name });
  const bus = starting.use(await connectAs("projector"));
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
  const workerBus = starting.use(await connectAs("worker"));
  const delivered = new Map<string, () => void>();
  const pull = workerBus.pull.bind(workerBus);
  workerBus.pull = (stream, consumer, options, handlers) =>
    pull(stream, consumer, options, {
      onMessage: (message) => {
        delivered.get(message.subject)?.();
        handlers.onMessage(message);
      },
      onEnd: (end) => handlers.onEnd(end),
    });
  const options = { queues: [queue], bus: workerBus, executors: 0, ackWaitMs, handlers };
  const worker = starting.use(await startWorker(options));
  const clientBus = await connectAs("clients");
  const load = starting.use(new Load(clientBus, queue));
  const running = starting.move();
  return {
    cluster,
    elections,
    buses: [
      ["projector", bus],
      ["worker", workerBus],
      ["clients", clientBus],
    ],
    store,
    worker,
    async probe(priority) {
      const publishedMs = Date.now();
      const id = load.nextId();
      const subject = jobSubject(priority, queue, "work", id);
      const delivery = Promise.withResolvers<number>();
      delivered.set(subject, () => delivery.resolve(Date.now()));
      const start = Promise.withResolvers<number>();
      started.set(id, () => start.resolve(Date.now()));
      await load.publish(id, priority);
      const acceptedMs = Date.now();
      const [deliveredMs, startedMs] = await Promise.all([delivery.promise, start.promise]);
      delivered.delete(subject);
      started.delete(id);
      return { priority, publishedMs, acceptedMs, deliveredMs, startedMs };
    },
    seen({ priority, publishedMs, acceptedMs, deliveredMs, startedMs }, sinceMs) {
      const after = (atMs: number | undefined): number => (atMs === undefined ? 0 : atMs - sinceMs);
      const stream = jobStream(priority);
      const decided = (consumer: string | undefined, byMs: number): number =>
        after(elections.last(stream, consumer, sinceMs, byMs)?.atMs);
      return {
        publishedMs: after(publishedMs),
        streamElectedMs: decided(undefined, acceptedMs),
        acceptedMs: after(acceptedMs),
        consumerElectedMs: decided(queueConsumer(queue), deliveredMs),
        deliveredMs: after(deliveredMs),
        startedMs: after(startedMs),
      };
    },
    async finish() {
      const { accepted } = load;
      const enough = (): Promise<true | undefined> => Promise.resolve(accepted.size > leastAccepted || undefined);
      await until(enough, `${leastAccepted} jobs to be accepted`, loadMs);
      await load.stop();
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
