// What the tests of plugins' events and tasks stand on: a NATS server, PGlite, and a hand that plays the workers.
import { create, fromJsonString, toBinary } from "@bufbuild/protobuf";
import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import {
  encodePluginRecord,
  EventBatchSchema,
  eventBatchSubject,
  EventKind,
  headerNames,
  JobResultSchema,
  JobState,
  PlatformEventSchema,
  PluginSchema,
  PluginState,
  type PlatformEvent,
  type PluginManifest,
} from "@millrace/protocol";
import { openStore, type Store } from "@millrace/store";
import { startScheduler, type Scheduler } from "./start-scheduler.ts";

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

export interface SchedulerFixture extends AsyncDisposable {
  readonly stack: AsyncDisposableStack;
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly store: Store;
}

/** A database for all tests of a file: setting one up takes longer than a test. */
export async function openTestStore(): Promise<Store> {
  const store = await openStore({ dataDir: "memory://" });
  await store.migrate();
  return store;
}

export async function startSchedulerFixture(store: Store): Promise<SchedulerFixture> {
  await using starting = new AsyncDisposableStack();
  const nats = starting.use(await startTestNats());
  const bus = starting.use(await connectBus({ servers: nats.url, name: "test" }));
  await bus.ensureTopology();
  const stack = starting.move();
  return { stack, nats, bus, store, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** One job of a plugin, as a worker gets it. */
export interface Taken {
  readonly plugin: string;
  readonly event: PlatformEvent;
  readonly tags: string;
  readonly id: string;
  /** Ends the job, as a worker does. */
  end(state?: JobState): void;
  /** Has the projection know that it has ended. */
  record(): Promise<unknown>;
}

/** Stands for the workers: hands out the jobs of a queue as they come. */
export async function takeJobs(bus: Bus, queue: "plugin-events" | "plugin-tasks"): Promise<() => Promise<Taken>> {
  await bus.ensureQueueConsumers(queue, { ackWaitMs: 30_000 });
  const waiting: ((taken: Taken) => void)[] = [];
  const there: Taken[] = [];
  const onMessage = (message: Delivery): void => {
    const [, , , plugin = "", id = ""] = message.subject.split(".");
    const replyTo = message.header(headerNames.replyTo);
    const text = new TextDecoder().decode(message.data);
    const taken: Taken = {
      plugin,
      id,
      event: queue === "plugin-events" ? fromJsonString(PlatformEventSchema, text) : create(PlatformEventSchema),
      tags: message.header(headerNames.tags) ?? "",
      record: () => publishBatch(bus, [{ jobId: id, kind: EventKind.SUCCEEDED, queue, type: plugin }]),
      end(state = JobState.SUCCEEDED) {
        bus.ack(message.reply);
        const result = create(JobResultSchema, { id, state, attempt: 1 });
        if (replyTo !== undefined) bus.publish(replyTo, toBinary(JobResultSchema, result));
      },
    };
    const next = waiting.shift();
    if (next === undefined) there.push(taken);
    else next(taken);
  };
  const pull = (): void =>
    bus.pull(
      "JOBS_NORMAL",
      `w_${queue}`,
      { batch: 100, expiresMs: 10_000 },
      {
        onMessage,
        onEnd: () => void bus.whenConnected().then(pull, () => undefined),
      },
    );
  pull();
  return () => {
    const first = there.shift();
    return first === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(first);
  };
}

export async function start({ stack, bus, store }: SchedulerFixture): Promise<Scheduler> {
  return stack.use(await startScheduler({}, { bus, store, logger: silent }));
}

export function install(
  bus: Bus,
  name: string,
  manifest: Partial<Pick<PluginManifest, "events" | "schedules">>,
  state: PluginState = PluginState.ACTIVE,
): Promise<number> {
  const plugin = create(PluginSchema, { manifest: { name, version: "1.0.0", ...manifest }, state });
  return bus.kv("plugins").put(name, encodePluginRecord(plugin));
}

export function publishBatch(bus: Bus, events: { jobId: string; kind: EventKind; queue?: string; type?: string }[]) {
  const batch = create(EventBatchSchema, {
    source: "w1",
    events: events.map((event) => ({ queue: "mail", type: "send", attempt: 1, priority: 3, atMs: 1000, ...event })),
  });
  return bus.publishDurable(eventBatchSubject("w1"), toBinary(EventBatchSchema, batch));
}
