import type { Fault } from "./evidence.ts";

/** What a fault may still bring about after its end: leases run out, half-open connections are left, a broker recovers. */
export const settleMs = 30_000;

/** Faults that may make an attempt run again, or an event be told twice. */
const repeats = /worker|scheduler|projector|postgres|broker|^n\d|all services|disk|clients|JOBS|EVENTS|SCHEDULE/;

/** The faults of a run, and whether something may be their doing. */
export class FaultLog {
  readonly #faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    this.#faults = faults;
  }

  /** Whether a fault that repeats work was felt between these two instants. */
  mayRepeat(fromMs: number, toMs: number): boolean {
    return this.#felt(fromMs, toMs).some(({ target, kind }) => repeats.test(target) || repeats.test(kind));
  }

  /** Whether anything at all was felt between these two instants. */
  anything(fromMs: number, toMs: number): boolean {
    return this.#felt(fromMs, toMs).length > 0;
  }

  #felt(fromMs: number, toMs: number): Fault[] {
    return this.#faults.filter(({ startMs, endMs }) => startMs <= toMs && endMs + settleMs >= fromMs);
  }
}
