/** Resolves after `ms`, or at once when `signal` fires; `unref` lets the process end meanwhile. */
export function pause(ms: number, options: { unref?: boolean; signal?: AbortSignal } = {}): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (options.signal?.aborted === true) return Promise.resolve();
  const timer = setTimeout(done, ms);
  if (options.unref === true) timer.unref();
  options.signal?.addEventListener("abort", done, { once: true });
  function done(): void {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", done);
    resolve();
  }
  return promise;
}

/** Waits for a promise, and no longer than `ms`. @returns whether it came to its end by then; rejects when it did so by then */
export async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const ended = new AbortController();
  const late = pause(ms, { signal: ended.signal }).then(() => false);
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    ended.abort();
  }
}

/** Doubling from `baseMs` to `mostMs`, and up to half of it taken off at random. */
export function backoffMs(failures: number, baseMs: number, mostMs: number): number {
  const full = Math.min(mostMs, baseMs * 2 ** Math.min(failures, 20));
  return full * (0.5 + Math.random() / 2);
}
