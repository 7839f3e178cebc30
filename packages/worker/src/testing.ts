import { fromBinary } from "@bufbuild/protobuf";
import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import {
  commandSubject,
  EventBatchSchema,
  EventKind,
  eventsStream,
  jobStream,
  jobSubject,
  queueConsumer,
  rowsSubject,
  type JobEvent,
  type PriorityName,
  type RowsAnswer,
  type RowsQuestion,
  type RowStanding,
} from "@millrace/protocol";
import type { WorkerCommand } from "./worker-command.ts";

export { startNameServer, type NameServer } from "./name-server-fixture.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const ending: ReadonlySet<EventKind> = new Set([
  EventKind.SUCCEEDED,
  EventKind.DEAD,
  EventKind.CANCELLED,
  EventKind.EXPIRED,
]);

/** A broker, a connection and an ear on the events: what a worker is tested against. */
export class WorkerFixture implements AsyncDisposable {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly events: JobEvent[] = [];
  #waiters: (() => void)[] = [];
  #readSeq = 0;

  private constructor(nats: TestNats, bus: Bus) {
    this.nats = nats;
    this.bus = bus;
    bus.readEvents({
      startSeq: 1,
      filter: "events.batch.>",
      onBatch: (messages) => {
        for (const message of messages) this.events.push(...fromBinary(EventBatchSchema, message.data).events);
        this.#readSeq = messages.at(-1)?.seq ?? this.#readSeq;
        for (const wake of this.#waiters.splice(0)) wake();
      },
    });
  }

  static async start(): Promise<WorkerFixture> {
    const nats = await startTestNats();
    const bus = await connectBus({ servers: nats.url, name: "test" });
    await bus.ensureTopology();
    return new WorkerFixture(nats, bus);
  }

  async submit(
    priority: PriorityName,
    queue: string,
    type: string,
    id: string | undefined,
    payload = "",
    headers: [string, string][] = [],
  ): Promise<void> {
    await this.bus.publishDurable(jobSubject(priority, queue, type, id), encoder.encode(payload), headers);
  }

  /** Waits for the event of a kind about a job. */
  async event(id: string, kind: EventKind): Promise<JobEvent> {
    for (;;) {
      const found = this.events.find((event) => event.jobId === id && event.kind === kind);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** Waits for the last event of a job. */
  async end(id: string): Promise<JobEvent> {
    for (;;) {
      const found = this.events.find((event) => event.jobId === id && ending.has(event.kind));
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** Jobs of a queue that nobody has acked. */
  async open(priority: PriorityName, queue: string): Promise<number> {
    const { pending, ackPending } = await this.bus.consumerState(jobStream(priority), queueConsumer(queue));
    return pending + ackPending;
  }

  /** What a stream holds under a subject. */
  async stored(stream: string, filter: string): Promise<Delivery[]> {
    const found: Delivery[] = [];
    const all = Promise.withResolvers<void>();
    await using reader = this.bus.readStream({
      stream,
      filter,
      start: "first",
      onBatch: (messages) => void found.push(...messages),
      onCaughtUp: all.resolve,
    });
    await Promise.race([all.promise, reader.done]);
    return found;
  }

  /** A command to a worker, and its answer. */
  async command(workerId: string, command: WorkerCommand): Promise<Record<string, unknown>> {
    const data = encoder.encode(JSON.stringify(command));
    const answer = await this.bus.request(commandSubject(workerId), data, { timeoutMs: 2000 });
    return JSON.parse(decoder.decode(answer.data)) as Record<string, unknown>;
  }

  /**
   * Answers for the projector: once all events so far are read, each question by the rows that `answer` gives, or never when it
   * gives none.
   */
  answerRows(answer: (question: RowsQuestion) => readonly RowStanding[] | undefined): Disposable {
    return this.bus.subscribe(rowsSubject, {}, async (message) => {
      await this.#caughtUp();
      const rows = answer(JSON.parse(decoder.decode(message.data)) as RowsQuestion);
      if (rows === undefined) return;
      const reply: RowsAnswer = { ready: true, rows };
      this.bus.publish(message.reply, encoder.encode(JSON.stringify(reply)));
    });
  }

  async #caughtUp(): Promise<void> {
    const { lastSeq } = await this.bus.streamState(eventsStream);
    while (this.#readSeq < lastSeq) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
  }
}
