import { BusError, type Bus, type KvBucket } from "@millrace/bus";
import { isTerminal, MillraceError } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { createHash } from "node:crypto";

/** What stands in the bucket: who holds the key, and since when. */
interface Holder {
  readonly id: string;
  readonly atMs: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Two submitters of one key change its holder in turns; more than a few rounds is not a race any more. */
const mostRounds = 5;

/** At most one unfinished job for each unique key: the key belongs to one job, and is taken over once that has ended. */
export class UniqueKeys {
  readonly #bucket: KvBucket;
  readonly #store: Store;
  readonly #lostKeyMs: number;

  constructor(bus: Bus, store: Store, lostKeyMs: number) {
    this.#bucket = bus.kv("unique");
    this.#store = store;
    this.#lostKeyMs = lostKeyMs;
  }

  /** @throws MillraceError already_exists naming the unfinished job that has the key */
  async acquire(uniqueKey: string, id: string): Promise<void> {
    const key = entryKey(uniqueKey);
    const value = encoder.encode(JSON.stringify({ id, atMs: Date.now() } satisfies Holder));
    for (let round = 0; round < mostRounds; round++) {
      try {
        const entry = await this.#bucket.get(key);
        if (entry === undefined) return void (await this.#bucket.create(key, value));
        const holder = decodeHolder(entry.value);
        if (holder.id === id) return;
        if (!(await this.#isOver(holder))) throw taken(uniqueKey, holder.id);
        return void (await this.#bucket.update(key, value, entry.revision));
      } catch (error) {
        const raced = error instanceof BusError && (error.code === "already_exists" || error.code === "aborted");
        if (!raced) throw error;
      }
    }
    throw new MillraceError("aborted", "the unique key changes hands too fast", { retryAfterMs: 100 });
  }

  /** Gives the key back when this job has it. */
  async release(uniqueKey: string, id: string): Promise<void> {
    const key = entryKey(uniqueKey);
    const entry = await this.#bucket.get(key);
    if (entry === undefined || decodeHolder(entry.value).id !== id) return;
    try {
      await this.#bucket.delete(key, { revision: entry.revision });
    } catch (error) {
      // Somebody has taken it over in between.
      if (!(error instanceof BusError) || error.code !== "aborted") throw error;
    }
  }

  async #isOver(holder: Holder): Promise<boolean> {
    const stored = await this.#store.getJob(holder.id);
    if (stored !== undefined) return isTerminal(stored.job.state);
    // Its submitter died between taking the key and publishing the job.
    return Date.now() - holder.atMs > this.#lostKeyMs;
  }
}

function taken(uniqueKey: string, holder: string): MillraceError {
  return new MillraceError("already_exists", `job ${holder} has the unique key ${JSON.stringify(uniqueKey)}`, {
    details: [{ field: "unique_key", reason: `held by unfinished job ${holder}` }],
  });
}

// Any printable text is a unique key; a bucket's keys are narrower.
function entryKey(uniqueKey: string): string {
  return createHash("sha256").update(uniqueKey).digest("hex");
}

function decodeHolder(value: Uint8Array): Holder {
  const holder = JSON.parse(decoder.decode(value)) as Partial<Holder>;
  return { id: holder.id ?? "", atMs: holder.atMs ?? 0 };
}
