// What the tests of plugins' events and tasks stand on: a NATS server, PGlite, and a hand that plays the workers.
import { randomUUID } from "node:crypto";
import { create, fromJsonString, toBinary } from "@bufbuild/protobuf";
import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import {
  announcementSubject,
  encodePluginRecord,
  EventBatchSchema,
  eventBatchSubject,
  eventsStream,
  headerNames,
  JobResultSchema,
  JobState,
  jobVersion,
  PlatformEventSchema,
  PluginSchema,
  PluginState,
  type JobEvent,
  type PlatformEvent,
  type PluginManifest,
} from "@millrace/protocol";
import { openStore, type JobPatch, type LogCursors, type Store } from "@millrace/store";
import { testPatch, testSubmission } from "@millrace/store/testing";
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
}

/** Stands for the workers: hands out the jobs of a queue as they come. */
export async function takeJobs(bus: Bus, queue: "plugin-events" | "plugin-tasks"): Promise<() => Promise<Taken>> {
  await bus.ensureQueueConsumers(queue, { ackWaitMs: 30_000 });
  const waiting: ((taken: Taken) => void)[] = [];
  const there: Taken[] = [];
  const onMessage = (message: Delivery): void => {
    const [, , , plugin = ""] = message.subject.split(".");
    const id = message.header(headerNames.id) ?? "";
    const replyTo = message.header(headerNames.replyTo);
    const text = new TextDecoder().decode(message.data);
    const taken: Taken = {
      plugin,
      id,
      event: queue === "plugin-events" ? fromJsonString(PlatformEventSchema, text) : create(PlatformEventSchema),
      tags: message.header(headerNames.tags) ?? "",
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

type TestEvent = Pick<JobEvent, "jobId" | "kind"> & Partial<Pick<JobEvent, "queue" | "type" | "run" | "attempt">>;

function encodeBatch(source: string, events: readonly TestEvent[]): Uint8Array {
  const batch = create(EventBatchSchema, {
    source,
    events: events.map((event) => ({
      queue: "mail",
      type: "send",
      run: 1,
      attempt: 1,
      priority: 3,
      atMs: 1000,
      ...event,
    })),
  });
  return toBinary(EventBatchSchema, batch);
}

export function publishBatch(bus: Bus, events: readonly TestEvent[]) {
  return bus.publishDurable(eventBatchSubject("w1"), encodeBatch("w1", events));
}

/** As the projector tells what came in by a log. */
export function announce(bus: Bus, log: string, events: readonly TestEvent[]) {
  return bus.publishDurable(announcementSubject(log), encodeBatch("projector", events));
}

/** Of a job that waits for its time, as the projector makes it of a message in SCHEDULE. */
export function waitingPatch(
  id: string,
  dueAtMs: number,
  more: Partial<JobPatch> & { run?: number; move?: number } = {},
): JobPatch {
  return testPatch(id, JobState.SCHEDULED, {
    queue: "mail",
    type: "send",
    updatedAtMs: dueAtMs,
    dueAtMs,
    eventSeq: 0,
    submission: { ...testSubmission("{}"), contentType: "", headers: {}, tags: [], correlationId: "" },
    submittedAtMs: dueAtMs,
    runAtMs: dueAtMs,
    ...more,
  });
}

/** Has the table know that a job has ended. */
export function recordEnd(store: Store, id: string): Promise<unknown> {
  const state = JobState.SUCCEEDED;
  const version = jobVersion({ run: 1, attempt: 1, move: 0, state });
  return rowWriter(store)(waitingPatch(id, Date.now(), { state, version, dueAtMs: 0, finishedAtMs: Date.now() }));
}

/** Writes rows, as the projector does. */
export function rowWriter(store: Store): (...patches: JobPatch[]) => Promise<unknown> {
  const name = randomUUID();
  let from: LogCursors = new Map();
  return (...patches) => {
    const seq = (from.get(eventsStream)?.seq ?? 0) + 1;
    const step = { name, from, to: new Map([[eventsStream, { seq, streamCreatedMs: 1, atMs: 0 }]]) };
    from = step.to;
    return store.applyEvents(patches, step);
  };
}
