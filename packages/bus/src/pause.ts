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

/** Doubling from `baseMs` to `mostMs`, and up to half of it taken off at random. */
export function backoffMs(failures: number, baseMs: number, mostMs: number): number {
  const full = Math.min(mostMs, baseMs * 2 ** Math.min(failures, 20));
  return full * (0.5 + Math.random() / 2);
}
