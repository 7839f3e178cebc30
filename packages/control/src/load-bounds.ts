import type { Bus } from "@millrace/bus";
import type { MillraceError } from "@millrace/protocol";
import { havePassed, lastPlaces, type LogPlaces } from "./log-places.ts";

/** So old a figure from the read model may be; then it is read again, beside the submission that finds it so. */
const keepMs = 1000;
/** Nobody is refused by a figure older than this. */
const recheckMs = 100;
/** A submission waits so long for a figure, and then goes by what is known. */
const patienceMs = 250;
/** Keys whose figures are kept: the rest are asked for anew. */
const mostKeys = 10_000;
/** When trying again makes sense: figures are as old as this. */
export const retryAfterMs = keepMs;

export interface LogPlace {
  readonly stream: string;
  readonly seq: number;
}

export interface Amount {
  jobs: number;
  bytes: number;
}

export interface LoadBoundsOptions {
  readonly bus: Bus;
  /** What the read model has of a key, and the sequence of each log up to which that is complete. */
  readonly read: (key: string) => Promise<Readonly<Amount> & { readonly cursors: ReadonlyMap<string, number> }>;
  /** Whether a key is bound at this moment. */
  readonly isBound: (key: string) => boolean;
  /** Why a job of so many bytes is too much beside what there is; undefined when it is not. */
  readonly excess: (key: string, load: Readonly<Amount>, bytes: number) => MillraceError | undefined;
  readonly onRefused: () => void;
}

/** A place that was given to one job. */
export interface BoundHold {
  /** To be called once. @param stored where the job lies; "no": the place is given back */
  settle(stored: LogPlace | "unknown" | "no"): void;
}

/** What has been accepted here, and where the read model must have come to have it too. */
interface Accepted extends Amount {
  readonly places: Record<string, number>;
  /** Some of it lies nobody knows where. */
  unsure: boolean;
}

/** What one key has that is not ended. */
interface Account {
  /** As the read model had it. */
  known: Readonly<Amount>;
  /** Accepted here before the read model was asked, which may not have all of it yet. */
  older: Accepted;
  /** Accepted here since. */
  newer: Accepted;
  /** Being published. */
  pending: Amount;
  /** On the clock of performance.now(); -Infinity before the first. */
  readMs: number;
  reading: Promise<void> | undefined;
}

const nothing = (): Amount => ({ jobs: 0, bytes: 0 });
const noneAccepted = (): Accepted => ({ ...nothing(), places: {}, unsure: false });

/**
 * Bounds what each key (a user, a queue) has that has not ended: jobs and their payloads. The read model counts them; what this process
 * has accepted and the read model does not have yet comes on top. While the database is away the last figures hold, and nobody
 * waits for it.
 */
export class LoadBounds {
  readonly #options: LoadBoundsOptions;
  /** The one that was looked for longest ago is the first. */
  readonly #accounts = new Map<string, Account>();

  constructor(options: LoadBoundsOptions) {
    this.#options = options;
  }

  /** @returns undefined when the key is not bound. @throws MillraceError resource_exhausted with figure and limit */
  async hold(key: string, bytes: number): Promise<BoundHold | undefined> {
    if (!this.#options.isBound(key)) return undefined;
    const account = this.#accountOf(key);
    const ageMs = performance.now() - account.readMs;
    if (ageMs > keepMs) {
      const reading = this.#read(key, account);
      if (ageMs === Infinity) {
        await atMost(reading, patienceMs);
        // Only the first ones wait, also when no answer comes.
        account.readMs = Math.max(account.readMs, performance.now() - keepMs);
      }
    }
    if (this.#excess(key, account, bytes) !== undefined && performance.now() - account.readMs > recheckMs) {
      await atMost(this.#read(key, account), patienceMs);
    }
    const excess = this.#excess(key, account, bytes);
    if (excess !== undefined) {
      this.#options.onRefused();
      throw excess;
    }
    add(account.pending, 1, bytes);
    return {
      settle(stored) {
        add(account.pending, -1, -bytes);
        if (stored === "no") return;
        add(account.newer, 1, bytes);
        if (stored === "unknown") account.newer.unsure = true;
        else take(account.newer.places, { [stored.stream]: stored.seq });
      },
    };
  }

  #excess(key: string, { known, older, newer, pending }: Account, bytes: number): MillraceError | undefined {
    const sum = (of: keyof Amount): number => known[of] + older[of] + newer[of] + pending[of];
    return this.#options.excess(key, { jobs: sum("jobs"), bytes: sum("bytes") }, bytes);
  }

  #accountOf(key: string): Account {
    let account = this.#accounts.get(key);
    if (account === undefined) {
      const none = { known: nothing(), older: noneAccepted(), newer: noneAccepted(), pending: nothing() };
      account = { ...none, readMs: -Infinity, reading: undefined };
    } else this.#accounts.delete(key);
    this.#accounts.set(key, account);
    for (const oldest of this.#accounts.keys()) {
      if (this.#accounts.size <= mostKeys) break;
      this.#accounts.delete(oldest);
    }
    return account;
  }

  /** Never rejects; one at a time for each key. */
  #read(key: string, account: Account): Promise<void> {
    return (account.reading ??= this.#refresh(key, account).finally(() => {
      account.readMs = performance.now();
      account.reading = undefined;
    }));
  }

  async #refresh(key: string, account: Account): Promise<void> {
    const { bus, read } = this.#options;
    try {
      if (account.older.jobs === 0) {
        account.older = account.newer;
        account.newer = noneAccepted();
      }
      const { older } = account;
      // Asked for afterwards: whatever was stored until then lies before it.
      if (older.unsure) take(older.places, await lastPlaces(bus));
      older.unsure = false;
      const { jobs, bytes, cursors } = await read(key);
      account.known = { jobs, bytes };
      if (havePassed(cursors, older.places)) account.older = noneAccepted();
    } catch (error) {
      bus.logger.debug({ key, err: error }, "what is queued cannot be read: the last figures hold");
    }
  }
}

function take(into: Record<string, number>, places: LogPlaces): void {
  for (const [log, seq] of Object.entries(places)) into[log] = Math.max(into[log] ?? 0, seq);
}

function add(to: Amount, jobs: number, bytes: number): void {
  to.jobs += jobs;
  to.bytes += bytes;
}

/** Ends with the work, or when the time is over. */
async function atMost(work: Promise<void>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
