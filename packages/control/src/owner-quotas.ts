import type { Bus } from "@millrace/bus";
import { eventsStream, MillraceError } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import type { ControlSettings } from "./config.ts";

/** So old a figure from the read model may be; then it is read again, beside the submission that finds it so. */
const keepMs = 1000;
/** Nobody is refused by a figure older than this. */
const recheckMs = 100;
/** A submission waits so long for a figure, and then goes by what is known. */
const patienceMs = 250;
/** Users whose figures are kept: the rest are asked for anew. */
const mostOwners = 10_000;
/** When trying again makes sense: figures are as old as this. */
const retryAfterMs = keepMs;

export interface OwnerQuotasOptions {
  readonly bus: Bus;
  readonly store: Store;
  /** Name under which the projector keeps its place. */
  readonly cursor: string;
  /** Looked up anew each time. */
  readonly limits: Pick<ControlSettings, "quotaJobs" | "quotaBytes">;
  readonly onRefused: () => void;
}

/** A place that was given to one job. */
export interface QuotaHold {
  /** To be called once. @param stored the job is in its stream, or may be; else the place is given back */
  settle(stored: boolean): void;
}

interface Amount {
  jobs: number;
  bytes: number;
}

/** What one owner has that is not ended. */
interface Account {
  /** As the read model had it. */
  known: Amount;
  /** Accepted here, and in the read model once that has come to `markSeq` of EVENTS. */
  older: Amount;
  markSeq: number;
  /** Accepted here since. */
  newer: Amount;
  /** Being published. */
  pending: Amount;
  /** On the clock of performance.now(); -Infinity before the first. */
  readMs: number;
  reading: Promise<void> | undefined;
}

const nothing = (): Amount => ({ jobs: 0, bytes: 0 });

/**
 * Bounds what each user has queued: jobs that have not ended, and their payloads. The read model counts them; what this process
 * has accepted and the read model does not have yet comes on top. While the database is away the last figures hold, and nobody
 * waits for it.
 */
export class OwnerQuotas {
  readonly #options: OwnerQuotasOptions;
  /** The one that was looked for longest ago is the first. */
  readonly #accounts = new Map<string, Account>();

  constructor(options: OwnerQuotasOptions) {
    this.#options = options;
  }

  /** @throws MillraceError resource_exhausted with figure and limit */
  async hold(owner: string, bytes: number): Promise<QuotaHold> {
    const account = this.#accountOf(owner);
    const ageMs = performance.now() - account.readMs;
    if (ageMs > keepMs) {
      const reading = this.#read(owner, account);
      if (ageMs === Infinity) {
        await atMost(reading, patienceMs);
        // Only the first ones wait, also when no answer comes.
        account.readMs = Math.max(account.readMs, performance.now() - keepMs);
      }
    }
    if (this.#excess(account, bytes) !== undefined && performance.now() - account.readMs > recheckMs) {
      await atMost(this.#read(owner, account), patienceMs);
    }
    const excess = this.#excess(account, bytes);
    if (excess !== undefined) {
      this.#options.onRefused();
      throw excess;
    }
    add(account.pending, 1, bytes);
    return {
      settle(stored) {
        add(account.pending, -1, -bytes);
        if (stored) add(account.newer, 1, bytes);
      },
    };
  }

  #excess({ known, older, newer, pending }: Account, bytes: number): MillraceError | undefined {
    const { quotaJobs: maxJobs, quotaBytes: maxBytes } = this.#options.limits;
    const sum = (of: keyof Amount): number => known[of] + older[of] + newer[of] + pending[of];
    if (sum("jobs") >= maxJobs) return refusal("queued_jobs", `${sum("jobs")} jobs`, `${maxJobs}`);
    if (sum("bytes") + bytes <= maxBytes) return undefined;
    return refusal("queued_bytes", `${sum("bytes")} bytes`, `${maxBytes}, and this job has ${bytes}`);
  }

  #accountOf(owner: string): Account {
    let account = this.#accounts.get(owner);
    if (account === undefined) {
      const none = { known: nothing(), older: nothing(), newer: nothing(), pending: nothing() };
      account = { ...none, markSeq: 0, readMs: -Infinity, reading: undefined };
    } else this.#accounts.delete(owner);
    this.#accounts.set(owner, account);
    for (const oldest of this.#accounts.keys()) {
      if (this.#accounts.size <= mostOwners) break;
      this.#accounts.delete(oldest);
    }
    return account;
  }

  /** Never rejects; one at a time for each owner. */
  #read(owner: string, account: Account): Promise<void> {
    return (account.reading ??= this.#refresh(owner, account).finally(() => {
      account.readMs = performance.now();
      account.reading = undefined;
    }));
  }

  async #refresh(owner: string, account: Account): Promise<void> {
    const { bus, store, cursor } = this.#options;
    try {
      if (account.older.jobs === 0) {
        account.older = account.newer;
        account.newer = nothing();
        account.markSeq = Infinity;
      }
      // Asked for afterwards: the copies of all that was accepted until then lie before it.
      if (account.markSeq === Infinity) account.markSeq = (await bus.streamState(eventsStream)).lastSeq;
      const { jobs, bytes, seq } = await store.readOwnerLoad(owner, cursor);
      account.known = { jobs, bytes };
      if (seq >= account.markSeq) account.older = nothing();
    } catch (error) {
      bus.logger.debug({ owner, err: error }, "what a user has queued cannot be read: the last figures hold");
    }
  }
}

function add(to: Amount, jobs: number, bytes: number): void {
  to.jobs += jobs;
  to.bytes += bytes;
}

function refusal(field: string, figure: string, limit: string): MillraceError {
  return new MillraceError("resource_exhausted", `you have ${figure} queued; the limit is ${limit}`, {
    details: [{ field, reason: `${figure} of at most ${limit}` }],
    retryAfterMs,
  });
}

/** Ends with the work, or when the time is over. */
async function atMost(work: Promise<void>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
