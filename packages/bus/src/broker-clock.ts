/**
 * The time as the broker has it: what jobs are judged by, so that one machine whose clock is wrong runs nothing early or late.
 *
 * Until something was observed it is this machine's time. It goes by the monotonic clock, so that setting the machine's clock changes
 * nothing, and moves only when an observation leaves no other choice: a machine whose clock is right keeps its own.
 */
export class BrokerClock {
  /** The broker's Unix ms at the beginning of the monotonic clock. */
  #originMs = Date.now() - performance.now();

  /** Unix ms. */
  nowMs(): number {
    return this.atMs(performance.now());
  }

  /** Unix ms of an instant of the monotonic clock. */
  atMs(monotonicMs: number): number {
    return Math.round(monotonicMs + this.#originMs);
  }

  /** How far this machine's clock is ahead of the broker's, ms. */
  get skewMs(): number {
    return Date.now() - this.nowMs();
  }

  /**
   * The broker stored a message at `storedMs` by its clock (Unix ms, the rest cut off), between two instants of the monotonic clock
   * here: when it was sent, and when the answer was there.
   */
  observe(sentMs: number, answeredMs: number, storedMs: number): void {
    const least = storedMs - answeredMs;
    const most = storedMs + 1 - sentMs;
    this.#originMs = Math.min(most, Math.max(least, this.#originMs));
  }
}
