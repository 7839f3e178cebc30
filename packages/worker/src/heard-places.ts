import { JobState, jobVersion } from "@millrace/protocol";
import type { Job } from "./job.ts";

/** Of each half; the older half goes when the newer one is full. */
const mostInHalf = 5000;

/**
 * The newest places of jobs that this worker had in hand again: retries, replays, and what was published anew. A message of an earlier
 * place may come after it, as one of a log that was thought to have lost it.
 */
export class HeardPlaces {
  #newer = new Map<string, number>();
  #older: ReadonlyMap<string, number> = new Map();

  note(job: Job): void {
    if (this.isPassed(job)) return;
    this.#newer.set(job.id, versionOf(job));
    if (this.#newer.size < mostInHalf) return;
    this.#older = this.#newer;
    this.#newer = new Map();
  }

  /** Whether a later place of the same job was heard of. */
  isPassed(job: Job): boolean {
    if (this.#newer.size === 0 && this.#older.size === 0) return false;
    const heard = this.#newer.get(job.id) ?? this.#older.get(job.id);
    return heard !== undefined && versionOf(job) < heard;
  }
}

function versionOf({ options: { run, attempt, move } }: Job): number {
  return jobVersion({ run, attempt, move, state: JobState.QUEUED });
}
