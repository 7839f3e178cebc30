import { EventKind, isTerminal, stateAfter } from "@millrace/protocol";
import type { JobEventAt } from "./job-event-at.ts";

/**
 * Lets each thing that happened through once. It may be told twice: by a projector that died between two announcements, by a crash
 * that runs an attempt again. Of the ends of one run only the first counts. It remembers the newest events within a bound, so a
 * double that comes later than that gets through.
 */
export class EventSieve {
  readonly #most: number;
  #newer = new Set<string>();
  #older: ReadonlySet<string> = new Set();

  /** @param most so many events are remembered at least, twice as many at most */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether this is the first of its kind. */
  takes(event: JobEventAt): boolean {
    const key = keyOf(event);
    if (key === undefined) return true;
    if (this.#newer.has(key) || this.#older.has(key)) return false;
    this.#newer.add(key);
    if (this.#newer.size >= this.#most) {
      this.#older = this.#newer;
      this.#newer = new Set();
    }
    return true;
  }
}

/** Undefined for what may be said again. */
function keyOf({ jobId, queue, type, run, attempt, kind }: JobEventAt): string | undefined {
  if (kind === EventKind.PARKED || kind === EventKind.CANCEL_REQUESTED) return undefined;
  const state = stateAfter(kind);
  // An id may be used in another queue or for another type, which is none of this job's business.
  const job = `${jobId}.${queue}.${type}.${run}`;
  return state !== undefined && isTerminal(state) ? job : `${job}.${attempt}.${kind}`;
}
