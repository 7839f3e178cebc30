import { BusError, type Bus, type KvBucket } from "@millrace/bus";
import { isTerminal } from "@millrace/protocol";
import type { Store } from "@millrace/store";

/** That a job is to be cancelled. */
interface Mark {
  readonly reason: string;
  readonly atMs: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Marks that workers check when they take a job and when they settle it. A worker removes the mark of a job that it has
 * settled; those of jobs that no worker had are removed here, some time after their row shows the end.
 */
export class CancelMarks implements AsyncDisposable {
  readonly #bucket: KvBucket;
  readonly #bus: Bus;
  readonly #store: Store;
  readonly #sweepMs: number;
  readonly #timer: NodeJS.Timeout;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(bus: Bus, store: Store, sweepMs: number) {
    this.#bus = bus;
    this.#bucket = bus.kv("cancel");
    this.#store = store;
    this.#sweepMs = sweepMs;
    this.#timer = setInterval(() => {
      this.#sweeping = this.#sweeping.then(() => this.sweep(Date.now()));
    }, sweepMs);
  }

  async put(id: string, reason: string): Promise<void> {
    await this.#bucket.put(id, encoder.encode(JSON.stringify({ reason, atMs: Date.now() } satisfies Mark)));
  }

  async remove(id: string): Promise<void> {
    if ((await this.#bucket.get(id)) !== undefined) await this.#bucket.delete(id);
  }

  /** Removes marks of jobs that have ended longer than a sweep ago: until then a worker may still meet the job. */
  async sweep(nowMs: number): Promise<void> {
    try {
      let removed = 0;
      for (const entry of await this.#bucket.entries()) {
        const mark = JSON.parse(decoder.decode(entry.value)) as Partial<Mark>;
        if (nowMs - (mark.atMs ?? 0) < this.#sweepMs) continue;
        const stored = await this.#store.getJob(entry.key);
        if (stored === undefined || !isTerminal(stored.job.state)) continue;
        await this.#bucket.delete(entry.key, { revision: entry.revision });
        removed++;
      }
      if (removed > 0) await this.#bucket.compact();
    } catch (error) {
      // The next sweep finds the same marks; they cost a few bytes until then.
      const level = error instanceof BusError ? "debug" : "warn";
      this.#bus.logger[level]({ err: error }, "cancel marks not swept");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#sweeping;
  }
}
