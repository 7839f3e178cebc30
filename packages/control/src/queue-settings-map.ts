import type { Bus, KvWatch } from "@millrace/bus";
import { decodeQueueSettings, encodeQueueSettings, type QueueSettings } from "@millrace/protocol";

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

  /** Names of queues with settings. */
  queues(): Iterable<string> {
    return this.#settings.keys();
  }

  async put(queue: string, settings: QueueSettings): Promise<void> {
    await this.#bus.kv("queues").put(queue, encodeQueueSettings(settings));
    this.#settings.set(queue, settings);
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
