import { BusError, type Bus, type KvBucket, type KvEntry, type KvWatch } from "@millrace/bus";
import {
  decodeCancelMark,
  decodePlaceMark,
  encodeCancelMark,
  type CancelMark,
  type PlaceMark,
} from "@millrace/protocol";

export interface KnownMark extends CancelMark {
  readonly revision: number;
}

export interface KnownPlaceMark extends PlaceMark {
  readonly revision: number;
}

/** Every mark that there is, kept up to date by a watch of the bucket: which runs are to be cancelled, which places are barred. */
export class CancelMarks implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #bucket: KvBucket;
  readonly #watch: KvWatch;
  readonly #jobs = new Map<string, KnownMark>();
  readonly #places = new Map<string, KnownPlaceMark>();

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#bucket = bus.kv("cancel");
    this.#watch = this.#bucket.watch({
      onEntry: (key, entry) => {
        if (entry !== undefined) return this.#take(key, entry);
        this.#jobs.delete(key);
        this.#places.delete(key);
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

  /** By key. */
  get places(): ReadonlyMap<string, KnownPlaceMark> {
    return this.#places;
  }

  /** Marks this run and earlier ones: whatever worker meets one from here on does not run it. A mark of a later run stays. */
  async put(id: string, run: number, reason: string): Promise<void> {
    const mark = { run: Math.max(run, this.#jobs.get(id)?.run ?? 0), reason, atMs: this.#bus.clock.nowMs() };
    const revision = await this.#bucket.put(id, encodeCancelMark(mark));
    this.#jobs.set(id, { ...mark, revision });
  }

  /** Removes a mark, unless it has become another one. */
  async remove(key: string, revision: number): Promise<void> {
    try {
      await this.#bucket.delete(key, { revision });
      this.#jobs.delete(key);
      this.#places.delete(key);
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
    if (mark !== undefined) return void this.#jobs.set(key, { ...mark, revision });
    const place = decodePlaceMark(key, value);
    if (place !== undefined) this.#places.set(key, { ...place, revision });
  }
}
