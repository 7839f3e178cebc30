/** About so many of the last runs count. */
const mostRuns = 32;
/** Until something ran, jobs are taken for long ones, so that none is hoarded. */
const firstGuessMs = 20;

/** Moving average of how long a job runs, and how many jobs a span of time therefore holds. */
export class RunAverage {
  #ms = firstGuessMs;
  /** The guess is one of them. */
  #runs = 1;

  get ms(): number {
    return this.#ms;
  }

  record(ms: number): void {
    this.#runs = Math.min(mostRuns, this.#runs + 1);
    this.#ms += (ms - this.#ms) / this.#runs;
  }

  /** How many jobs fill `spanMs` on `slots` slots, between `least` and `most`. */
  jobsIn(spanMs: number, slots: number, least: number, most: number): number {
    const jobs = Math.floor((spanMs / Math.max(this.#ms, 0.001)) * slots);
    return Math.max(least, Math.min(most, jobs));
  }
}
