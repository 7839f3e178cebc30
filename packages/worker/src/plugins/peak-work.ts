/** Until it has run so often, a call is taken for a long one. */
const leastRuns = 4;
const firstGuessMs = 20;
/** A long call is remembered for some thirty short ones: what was long once may be so again. */
const keptPerCall = 0.95;
/** By so much of the difference the usual time follows a shorter call, and a longer one. */
const downPerCall = 0.5;
const upPerCall = 0.05;

/**
 * How much work a call may be. Two measures, because each is blind to something: fuel knows nothing of what the host does for a
 * call (memory, garbage), and the clock runs on while others have the core. So the most of late counts of the one, and of the
 * other about the tenth percentile.
 */
export class PeakWork {
  #runs = 0;
  #peakMs = 0;
  #usualMs = 0;

  /** On a slow core. */
  get ms(): number {
    return this.#runs < leastRuns ? firstGuessMs : Math.max(this.#peakMs, this.#usualMs);
  }

  /** @param clockMs from begin to end @param fuelMs what its fuel takes on a slow core */
  record(clockMs: number, fuelMs: number): void {
    this.#peakMs = Math.max(Math.min(clockMs, fuelMs), this.#peakMs * keptPerCall);
    const follow = this.#runs === 0 ? 1 : clockMs < this.#usualMs ? downPerCall : upPerCall;
    this.#usualMs += (clockMs - this.#usualMs) * follow;
    this.#runs = Math.min(leastRuns, this.#runs + 1);
  }
}
