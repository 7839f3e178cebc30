import type { Bus } from "./bus.ts";
import { BusError } from "./bus-error.ts";
import type { KvBucket, KvEntry } from "./kv-bucket.ts";
import { pause, within } from "./pause.ts";

/** No word of the leader for this long, and another takes over. Seen by the clock of who waits: no clocks are compared. */
export const leaseMs = 8_000;
const renewMs = 2_000;
/** The leader's own clock is up before anybody else's. */
const giveUpMs = 6_000;
const retryMs = 500;
/** Who gives a lease back waits no longer for the broker: without its word the lease runs out. */
const giveBackMs = 2_000;

/**
 * Held by at most one of all processes that ask for the same work, as far as a lease can promise it: a process that sleeps past
 * its lease may act for a moment beside its successor. What the leader does must bear that.
 */
export class LeaderLease implements AsyncDisposable {
  readonly #bucket: KvBucket;
  readonly #work: string;
  readonly #holder: string;
  readonly #over = new AbortController();
  readonly #renewing: Promise<void>;
  #revision: number;

  private constructor(bucket: KvBucket, work: string, holder: string, revision: number, sinceMs: number) {
    this.#bucket = bucket;
    this.#work = work;
    this.#holder = holder;
    this.#revision = revision;
    this.#renewing = this.#renew(sinceMs);
  }

  /**
   * Resolves with the lease when it is this process's turn; undefined when the signal is aborted first.
   * @param work what is led: the key in the bucket `leaders`
   * @param holder another for each who asks, also within one process
   */
  static async acquire(bus: Bus, work: string, holder: string, signal: AbortSignal): Promise<LeaderLease | undefined> {
    const bucket = bus.kv("leaders");
    let seen: KvEntry | undefined;
    let seenAtMs = performance.now();
    let changed = new AbortController();
    await using watch = bucket.watch({
      keys: work,
      onEntry: (_, entry) => {
        if (entry !== undefined && entry.revision === seen?.revision) return;
        seen = entry;
        seenAtMs = performance.now();
        changed.abort();
      },
    });
    await Promise.race([watch.ready, pause(leaseMs, { signal })]);
    while (!signal.aborted) {
      const leftMs = seen === undefined ? 0 : seenAtMs + leaseMs - performance.now();
      if (leftMs > 0) {
        changed = new AbortController();
        await pause(leftMs, { signal: AbortSignal.any([signal, changed.signal]) });
        continue;
      }
      const atMs = performance.now();
      const revision = await write(bucket, work, holder, seen?.revision);
      if (revision !== undefined) return new LeaderLease(bucket, work, holder, revision, atMs);
      // Somebody was faster: the watch tells who.
      await pause(retryMs, { signal });
    }
    return undefined;
  }

  /** Aborted when the lease is lost or given back. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Gives the lease back: another may lead at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    const held = !this.#over.signal.aborted;
    this.#over.abort();
    await within(giveBackMs, held ? this.#giveBack() : this.#renewing);
  }

  async #giveBack(): Promise<void> {
    await this.#renewing;
    await this.#bucket.delete(this.#work, { revision: this.#revision }).catch(() => undefined);
  }

  async #renew(sinceMs: number): Promise<void> {
    const { signal } = this.#over;
    let renewedAtMs = sinceMs;
    let expiry = setTimeout(() => this.#over.abort(), giveUpMs);
    for (await pause(renewMs, { signal }); !signal.aborted; await pause(renewMs, { signal })) {
      const atMs = performance.now();
      try {
        this.#revision = await this.#bucket.update(this.#work, encode(this.#holder), this.#revision);
      } catch (error) {
        if (error instanceof BusError && error.code === "aborted" && !(await this.#isOurs())) this.#over.abort();
        continue;
      }
      renewedAtMs = atMs;
      clearTimeout(expiry);
      expiry = setTimeout(() => this.#over.abort(), renewedAtMs + giveUpMs - performance.now());
    }
    clearTimeout(expiry);
  }

  /** A renewal whose answer was lost is a revision that we do not know of. */
  async #isOurs(): Promise<boolean> {
    try {
      const entry = await this.#bucket.get(this.#work);
      if (entry === undefined || decode(entry.value) !== this.#holder) return false;
      this.#revision = entry.revision;
      return true;
    } catch {
      // Not known: the own clock decides.
      return true;
    }
  }
}

/** @returns undefined when another was faster, or the broker is away */
async function write(
  bucket: KvBucket,
  work: string,
  holder: string,
  revision: number | undefined,
): Promise<number | undefined> {
  try {
    const value = encode(holder);
    return revision === undefined ? await bucket.create(work, value) : await bucket.update(work, value, revision);
  } catch (error) {
    if (error instanceof BusError) return undefined;
    throw error;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
