// What the tests of logs stand on: a NATS server with small streams, a database, and a hand that plays workers.
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, TestStack, type TestNats } from "@millrace/bus/testing";
import {
  eventBatchSubject,
  EventBatchSchema,
  EventKind,
  eventsStream,
  jobLogs,
  jobStream,
  queueConsumer,
  type JobEventSchema,
} from "@millrace/protocol";
import { openStore, type Store } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import type { ProjectorConfig } from "./config.ts";
import { startProjector, type Projector, type ProjectorDeps } from "./start-projector.ts";

export const silent = { debug() {}, info() {}, warn() {}, error() {} };
export const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const limits = {
  jobStreamBytes: 1 << 20,
  scheduleStreamBytes: 1 << 20,
  eventsBytes: 4 << 20,
  eventsMaxAgeMs: 3_600_000,
};
/** Everything soon: what takes seconds by default. */
const soon = { trimEveryMs: 150, keepYoungMs: 50, reconcileEveryMs: 150, leaseMs: 100 };
export const lease = 30_000;

export class ProjectorFixture implements AsyncDisposable {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly store: Store;
  readonly #stack: TestStack;

  private constructor(stack: TestStack, nats: TestNats, bus: Bus, store: Store) {
    this.#stack = stack;
    this.nats = nats;
    this.bus = bus;
    this.store = store;
  }

  /** @param store for all tests of a file: setting one up takes longer than a test; emptied here */
  static async start(store: Store): Promise<ProjectorFixture> {
    await using stack = new TestStack();
    const nats = stack.use("broker", await startTestNats());
    const bus = stack.use("bus", await connectBus({ servers: nats.url, name: "test" }));
    await bus.ensureTopology({ limits });
    for (const table of ["jobs", "queue_stats", "owner_stats", "projection_cursor"] as const) {
      await store.db.deleteFrom(table).execute();
    }
    return new ProjectorFixture(stack.move(), nats, bus, store);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack[Symbol.asyncDispose]();
  }

  project(config: Partial<ProjectorConfig> = {}, deps: Partial<ProjectorDeps> = {}): Promise<Projector> {
    return startProjector({ ...soon, ...config }, { bus: this.bus, store: this.store, logger: silent, ...deps });
  }

  ensureTopology(eventsBytes = limits.eventsBytes): Promise<void> {
    return this.bus.ensureTopology({
      limits: { ...limits, eventsBytes, jobStreamBytes: Math.max(eventsBytes >> 2, 1 << 20) },
    });
  }

  /** Resolves when the rows hold all that the logs hold at this moment. */
  async catchUp(projector: Projector): Promise<void> {
    const names = [eventsStream, ...jobLogs];
    const ends = await Promise.all(names.map(async (log) => [log, (await this.bus.streamState(log)).lastSeq] as const));
    await projector.whenProjected(new Map(ends));
  }

  /** As a client that gives its own ids. */
  async submit(id: string, options: { priority?: "high" | "normal"; queue?: string; bytes?: number } = {}) {
    const { priority = "normal", queue = "mail", bytes = 10 } = options;
    return this.bus.publishDurable(`jobs.${priority}.${queue}.send.${id}`, new Uint8Array(bytes).fill(97), [
      ["Nats-Msg-Id", id],
    ]);
  }

  /** As a worker tells it. */
  tell(...events: MessageInitShape<typeof JobEventSchema>[]): Promise<unknown> {
    const full = events.map((event) => ({
      run: 1,
      attempt: 1,
      queue: "mail",
      type: "send",
      priority: 3,
      atMs: Date.now(),
      ...event,
    }));
    const batch = create(EventBatchSchema, { source: "w1", events: full });
    return this.bus.publishDurable(eventBatchSubject("w1"), toBinary(EventBatchSchema, batch));
  }

  end(...ids: string[]): Promise<unknown> {
    return this.tell(...ids.map((jobId) => ({ jobId, kind: EventKind.SUCCEEDED })));
  }

  /** What a worker of the queue gets; nothing is acknowledged. */
  async pull(queue: string, count: number, priority: "high" | "normal" = "normal"): Promise<Delivery[]> {
    await this.bus.ensureQueueConsumers(queue, { ackWaitMs: lease });
    const got: Delivery[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const handlers = { onMessage: (message: Delivery) => void got.push(message), onEnd: () => resolve() };
    this.bus.pull(jobStream(priority), queueConsumer(queue), { batch: count, expiresMs: 5000 }, handlers);
    await promise;
    return got;
  }

  request(subject: string, body: object): Promise<unknown> {
    const data = text(JSON.stringify(body));
    return this.bus
      .request(subject, data, { timeoutMs: 20_000 })
      .then((answer) => JSON.parse(new TextDecoder().decode(answer.data)) as unknown);
  }
}

export interface TestStore extends AsyncDisposable {
  readonly store: Store;
}

/** On PostgreSQL where it is found, else on PGlite. */
export async function openTestStore(): Promise<TestStore> {
  await using stack = new TestStack();
  const binaries = findPostgresBinaries();
  const server = binaries === undefined ? undefined : stack.use("PostgreSQL", await startTestPostgres(binaries));
  const location = server === undefined ? { dataDir: "memory://" } : { databaseUrl: server.url };
  const store = stack.use("store", await openStore(location));
  await store.migrate();
  const opened = stack.move();
  return { store, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}
