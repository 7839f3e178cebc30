import { fromBinary } from "@bufbuild/protobuf";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { EventBatchSchema, EventKind, jobSubject, type JobEvent, type PriorityName } from "@millrace/protocol";

export { startNameServer, type NameServer } from "./name-server-fixture.ts";

const encoder = new TextEncoder();
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

  private constructor(nats: TestNats, bus: Bus) {
    this.nats = nats;
    this.bus = bus;
    bus.readEvents({
      startSeq: 1,
      filter: "events.batch.>",
      onBatch: (messages) => {
        for (const message of messages) this.events.push(...fromBinary(EventBatchSchema, message.data).events);
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

  /** Messages left in the stream of a priority. */
  async left(priority: PriorityName): Promise<number> {
    return (await this.bus.streamState(`JOBS_${priority.toUpperCase()}`)).messages;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
  }
}
