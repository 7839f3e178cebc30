import { createHash } from "node:crypto";
import { BusError, type Bus, type KvBucket } from "@millrace/bus";
import { decodeJson, isTerminal, MillraceError } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { askRows } from "./ask-rows.ts";

/** A run of a job: what holds a key. */
export interface KeyHolder {
  readonly id: string;
  readonly run: number;
}

/** What stands in the bucket. */
interface Holder extends KeyHolder {
  readonly atMs: number;
  /** The log that it is stored in. */
  readonly log: string;
  /** That log's last sequence before it was published: it lies behind this, if it is stored. */
  readonly afterSeq: number;
}

export interface UniqueKeysOptions {
  readonly bus: Bus;
  readonly store: Store;
  /** A publish that is under way may be stored until then: a key that is younger is held in any case. */
  readonly lostKeyMs: number;
}

const encoder = new TextEncoder();
/** Two submitters of one key change its holder in turns; more than a few rounds is not a race any more. */
const mostRounds = 5;
const rowsWithinMs = 1000;

/**
 * At most one unfinished job for each unique key: the key belongs to a run of one job, and is taken over once that has ended. That
 * a holder has no row is no proof that there is no such job: only that its log was read to the end, and it was not in it.
 */
export class UniqueKeys {
  readonly #bucket: KvBucket;
  readonly #options: UniqueKeysOptions;

  constructor(options: UniqueKeysOptions) {
    this.#bucket = options.bus.kv("unique");
    this.#options = options;
  }

  /**
   * To be called before the job is published.
   * @param log that it will be published to
   * @throws MillraceError already_exists naming the job that has the key and may be unfinished
   */
  async acquire(uniqueKey: string, { id, run }: KeyHolder, log: string): Promise<void> {
    const key = entryKey(uniqueKey);
    const { bus, lostKeyMs } = this.#options;
    const { lastSeq } = await bus.streamState(log);
    const mine: Holder = { id, run, atMs: bus.clock.nowMs(), log, afterSeq: lastSeq };
    for (let round = 0; round < mostRounds; round++) {
      try {
        const entry = await this.#bucket.get(key);
        if (entry === undefined) return void (await this.#bucket.create(key, encode(mine)));
        const holder = decodeHolder(entry.value);
        if (holder.id !== id) {
          if (!(await this.#isOver(holder))) throw taken(uniqueKey, holder.id);
          return void (await this.#bucket.update(key, encode(mine), entry.revision));
        }
        // Submitted again, it is on its way once more: nobody may take it for lost meanwhile.
        if (holder.run >= run && mine.atMs - holder.atMs < lostKeyMs / 2) return;
        const latest = { ...mine, run: Math.max(run, holder.run) };
        return void (await this.#bucket.update(key, encode(latest), entry.revision));
      } catch (error) {
        const raced = error instanceof BusError && (error.code === "already_exists" || error.code === "aborted");
        if (!raced) throw error;
      }
    }
    throw new MillraceError("aborted", "the unique key changes hands too fast", { retryAfterMs: 100 });
  }

  /** Gives the key back when this run of the job has it, or an earlier one. */
  async release(uniqueKey: string, { id, run }: KeyHolder): Promise<void> {
    const key = entryKey(uniqueKey);
    const entry = await this.#bucket.get(key);
    if (entry === undefined) return;
    const holder = decodeHolder(entry.value);
    if (holder.id !== id || holder.run > run) return;
    try {
      await this.#bucket.delete(key, { revision: entry.revision });
    } catch (error) {
      // Somebody has taken it over in between.
      if (!(error instanceof BusError) || error.code !== "aborted") throw error;
    }
  }

  async #isOver(holder: Holder): Promise<boolean> {
    const stored = await this.#options.store.getJob(holder.id);
    if (stored !== undefined && stored.run >= holder.run) return isTerminal(stored.job.state);
    return this.#neverCame(holder);
  }

  /** Its submitter died between taking the key and publishing the job: all that its log holds was read, and it was not there. */
  async #neverCame({ id, run, atMs, log, afterSeq }: Holder): Promise<boolean> {
    const { bus, store, lostKeyMs } = this.#options;
    if (log === "" || bus.clock.nowMs() - atMs < lostKeyMs) return false;
    const { lastSeq } = await bus.streamState(log);
    // With nothing behind the place that was noted, the job is in no log; else what came since must be in the rows. A log that was made
    // anew may end before that place.
    if (lastSeq !== afterSeq) {
      const rows = await askRows(bus, { ids: [id], after: { [log]: lastSeq }, waitMs: rowsWithinMs });
      if (rows === undefined) return false;
    }
    const stored = await store.getJob(id);
    return stored === undefined || stored.run < run;
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

function encode(holder: Holder): Uint8Array {
  return encoder.encode(JSON.stringify(holder));
}

function decodeHolder(value: Uint8Array): Holder {
  const { id = "", run = 1, atMs = 0, log = "", afterSeq = 0 } = decodeJson<Holder>(value);
  return { id, run, atMs, log, afterSeq };
}
