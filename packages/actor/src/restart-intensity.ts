import type { Clock } from "./clock.ts";

/** How many restarts are bearable, and how long to wait before each. */
export interface RestartLimits {
  /** More than this many restarts within the window and the supervisor gives up. */
  maxRestarts: number;
  withinMs: number;
  /** First delay; doubles with each restart within the window. */
  baseDelayMs: number;
  maxDelayMs: number;
  /** Share of the delay that is random, 0 to 1: keeps a fleet from restarting in step. */
  jitter: number;
}

export const defaultRestartLimits: RestartLimits = {
  maxRestarts: 5,
  withinMs: 30_000,
  baseDelayMs: 50,
  maxDelayMs: 10_000,
  jitter: 0.5,
};

/** Delay before the n-th restart (1-based) within a window; `random` is in [0, 1). */
export function restartDelayMs(n: number, limits: RestartLimits, random: number): number {
  const full = Math.min(limits.maxDelayMs, limits.baseDelayMs * 2 ** Math.min(n - 1, 52));
  return full * (1 - limits.jitter * random);
}

/** Counts restarts in a sliding window. */
export class RestartIntensity {
  readonly #limits: RestartLimits;
  readonly #clock: Clock;
  /** At most `maxRestarts + 1` times. */
  #times: number[] = [];

  constructor(limits: RestartLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** The delay before this restart, or undefined when there have been too many. */
  record(): number | undefined {
    const now = this.#clock.now();
    this.#times = this.#times.filter((at) => now - at < this.#limits.withinMs);
    this.#times.push(now);
    if (this.#times.length > this.#limits.maxRestarts) {
      this.#times.shift();
      return undefined;
    }
    return restartDelayMs(this.#times.length, this.#limits, this.#clock.random());
  }
}
