import { BusError, type Bus, type KvBucket, type KvEntry } from "@millrace/bus";
import { wait } from "./wait.ts";

const key = "leader";
/** No word of the leader for this long, and another takes over. Seen by the clock of who waits: no clocks are compared. */
export const leaseMs = 10_000;
const renewMs = 2_500;
/** The leader's own clock is up before anybody else's. */
const giveUpMs = 7_000;
const retryMs = 500;

/**
 * Held by at most one of all schedulers, as far as a lease can promise it: a process that sleeps past its lease may act for a
 * moment beside its successor. What the leader does must bear that.
 */
export class LeaderLease implements AsyncDisposable {
  readonly #bucket: KvBucket;
  readonly #holder: string;
  readonly #over = new AbortController();
  readonly #renewing: Promise<void>;
  #revision: number;

  private constructor(bucket: KvBucket, holder: string, revision: number, sinceMs: number) {
    this.#bucket = bucket;
    this.#holder = holder;
    this.#revision = revision;
    this.#renewing = this.#renew(sinceMs);
  }

  /** Resolves with the lease when it is this process's turn; undefined when the signal is aborted first. */
  static async acquire(bus: Bus, holder: string, signal: AbortSignal): Promise<LeaderLease | undefined> {
    const bucket = bus.kv("eventCursors");
    let seen: KvEntry | undefined;
    let seenAtMs = performance.now();
    let changed = new AbortController();
    await using watch = bucket.watch({
      keys: key,
      onEntry: (_, entry) => {
        if (entry !== undefined && entry.revision === seen?.revision) return;
        seen = entry;
        seenAtMs = performance.now();
        changed.abort();
      },
    });
    await Promise.race([watch.ready, wait(leaseMs, signal)]);
    while (!signal.aborted) {
      const leftMs = seen === undefined ? 0 : seenAtMs + leaseMs - performance.now();
      if (leftMs > 0) {
        changed = new AbortController();
        await wait(leftMs, AbortSignal.any([signal, changed.signal]));
        continue;
      }
      const atMs = performance.now();
      const revision = await write(bucket, holder, seen?.revision);
      if (revision !== undefined) return new LeaderLease(bucket, holder, revision, atMs);
      // Somebody was faster: the watch tells who.
      await wait(retryMs, signal);
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
    await this.#renewing;
    if (held) await this.#bucket.delete(key, { revision: this.#revision }).catch(() => undefined);
  }

  async #renew(sinceMs: number): Promise<void> {
    const { signal } = this.#over;
    let renewedAtMs = sinceMs;
    let expiry = setTimeout(() => this.#over.abort(), giveUpMs);
    for (await wait(renewMs, signal); !signal.aborted; await wait(renewMs, signal)) {
      const atMs = performance.now();
      try {
        this.#revision = await this.#bucket.update(key, encode(this.#holder), this.#revision);
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
      const entry = await this.#bucket.get(key);
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
async function write(bucket: KvBucket, holder: string, revision: number | undefined): Promise<number | undefined> {
  try {
    const value = encode(holder);
    return revision === undefined ? await bucket.create(key, value) : await bucket.update(key, value, revision);
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
