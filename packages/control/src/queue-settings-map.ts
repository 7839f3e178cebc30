import { BusError, type Bus, type KvWatch } from "@millrace/bus";
import { decodeQueueSettings, encodeQueueSettings, type QueueSettings } from "@millrace/protocol";

/** Two who change one queue take turns; more than a few rounds is not a race any more. */
const mostRounds = 5;
const noSettings: QueueSettings = { paused: false, maxWaitingJobs: 0, maxWaitingBytes: 0 };

/** Settings of every queue that has any, kept up to date by a watch of the bucket. */
export class QueueSettingsMap implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #settings = new Map<string, QueueSettings>();
  readonly #watch: KvWatch;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#watch = bus.kv("queues").watch({
      onEntry: (queue, entry) => {
        if (entry === undefined) this.#settings.delete(queue);
        else this.#take(queue, entry.value);
      },
    });
  }

  get ready(): Promise<void> {
    return this.#watch.ready;
  }

  isPaused(queue: string): boolean {
    return this.#settings.get(queue)?.paused ?? false;
  }

  /** How many of its jobs may wait; 0: any number. */
  maxWaitingJobs(queue: string): number {
    return this.#settings.get(queue)?.maxWaitingJobs ?? 0;
  }

  /** How many bytes of payload its jobs that wait may have; 0: any number. */
  maxWaitingBytes(queue: string): number {
    return this.#settings.get(queue)?.maxWaitingBytes ?? 0;
  }

  /** Names of queues with settings. */
  queues(): Iterable<string> {
    return this.#settings.keys();
  }

  /** Sets what is given, and leaves the rest of the queue's settings as it is, also when others change it at the same time. */
  async change(queue: string, change: Partial<QueueSettings>): Promise<void> {
    const bucket = this.#bus.kv("queues");
    for (let round = 0; ; round++) {
      const entry = await bucket.get(queue);
      const before = entry === undefined ? noSettings : decodeQueueSettings(entry.value);
      const after = { ...before, ...change };
      const value = encodeQueueSettings(after);
      try {
        if (entry === undefined) await bucket.create(queue, value);
        else await bucket.update(queue, value, entry.revision);
        this.#settings.set(queue, after);
        return;
      } catch (error) {
        const raced = error instanceof BusError && (error.code === "already_exists" || error.code === "aborted");
        if (!raced || round >= mostRounds) throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }

  #take(queue: string, value: Uint8Array): void {
    try {
      this.#settings.set(queue, decodeQueueSettings(value));
    } catch (error) {
      this.#bus.logger.warn({ queue, err: error }, "queue settings do not parse");
    }
  }
}
