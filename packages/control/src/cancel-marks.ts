import { BusError, type Bus, type KvBucket, type KvEntry, type KvWatch } from "@millrace/bus";
import { decodeCancelMark, encodeCancelMark, type CancelMark } from "@millrace/protocol";

export interface KnownMark extends CancelMark {
  readonly revision: number;
}

/** Which runs are to be cancelled, kept up to date by a watch of the bucket. What bars places in logs there is the projector's. */
export class CancelMarks implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #bucket: KvBucket;
  readonly #watch: KvWatch;
  readonly #jobs = new Map<string, KnownMark>();

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#bucket = bus.kv("cancel");
    this.#watch = this.#bucket.watch({
      onEntry: (key, entry) => {
        if (entry === undefined) this.#jobs.delete(key);
        else this.#take(key, entry);
      },
    });
  }

  get ready(): Promise<void> {
    return this.#watch.ready;
  }

  /** By job id. */
  get jobs(): ReadonlyMap<string, KnownMark> {
    return this.#jobs;
  }

  /** Marks this run and earlier ones: whatever worker meets one from here on does not run it. A mark of a later run stays. */
  async put(id: string, run: number, reason: string): Promise<void> {
    const mark = { run: Math.max(run, this.#jobs.get(id)?.run ?? 0), reason, atMs: this.#bus.clock.nowMs() };
    const revision = await this.#bucket.put(id, encodeCancelMark(mark));
    this.#jobs.set(id, { ...mark, revision });
  }

  /** Removes a mark, unless it has become another one. */
  async remove(id: string, revision: number): Promise<void> {
    try {
      await this.#bucket.delete(id, { revision });
      this.#jobs.delete(id);
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== "aborted") throw error;
    }
  }

  /** Forgets what removing leaves in the bucket. Only when workers have had the time to hear of it. */
  async compact(): Promise<void> {
    await this.#bucket.compact();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }

  #take(key: string, { value, revision }: KvEntry): void {
    const mark = decodeCancelMark(key, value);
    if (mark !== undefined) this.#jobs.set(key, { ...mark, revision });
  }
}
