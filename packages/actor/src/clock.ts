/** Time and chance, injected so that supervision can be tested without waiting. */
export interface Clock {
  /** Milliseconds on any monotonic-enough scale. */
  now(): number;
  /** Runs `fn` after `ms`; the returned function cancels it. */
  after(ms: number, fn: () => void): () => void;
  /** Runs `fn` once the host has had a chance to do I/O. */
  soon(fn: () => void): void;
  /** A number in [0, 1), for jitter. */
  random(): number;
}

/** The clock of the running process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
  soon: (fn) => void setTimeout(fn, 0),
  random: () => Math.random(),
};
