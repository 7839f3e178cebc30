import { wait } from "./wait.ts";

/** For so long after a message in SCHEDULE its row is looked for: the projector makes it. */
export const lookForMs = 5_000;
/** Between two looks meanwhile. */
const lookEveryMs = 100;

/**
 * When to look at the table again: when the next row is due, by the clock of the database; and, for a while after a job came in
 * that is due before that, often, as its row appears without a word.
 */
export class NextLook {
  readonly #recheckMs: number;
  #changed = new AbortController();
  /** By `performance.now`, as all here. */
  #plannedAt = 0;
  #lookingUntil = 0;
  /** What is to be added to `performance.now` for the database's clock; unknown before the first look. */
  #clockOffsetMs: number | undefined;

  constructor(recheckMs: number) {
    this.#recheckMs = recheckMs;
  }

  /** Before each look: what is heard from here on ends the wait that follows it. */
  begin(): void {
    this.#changed = new AbortController();
  }

  /** After a look. @param delayMs until the next row is due; undefined when none waits @param nowMs the database's clock */
  plan(delayMs: number | undefined, nowMs: number): void {
    const now = performance.now();
    this.#clockOffsetMs = nowMs - now;
    this.#plannedAt = now + Math.min(delayMs ?? Infinity, this.#recheckMs);
  }

  /** A job came in that is due then, Unix ms. */
  heard(dueMs: number): void {
    const now = performance.now();
    const dueAt = this.#clockOffsetMs === undefined ? now : dueMs - this.#clockOffsetMs;
    if (dueAt >= this.#plannedAt && this.#plannedAt > now) return;
    this.#lookingUntil = now + lookForMs;
    this.#changed.abort();
  }

  /** Resolves when it is time for a look, or the signal is aborted. */
  async wait(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const plannedMs = Math.ceil(this.#plannedAt - now);
    if (plannedMs <= 0) return;
    if (now < this.#lookingUntil) return wait(Math.min(lookEveryMs, plannedMs), signal);
    const heard = this.#changed.signal;
    await wait(plannedMs, AbortSignal.any([signal, heard]));
    // The row is not there before its transaction ends: the first look in vain is saved.
    if (heard.aborted && !signal.aborted) await wait(Math.min(lookEveryMs / 2, plannedMs), signal);
  }
}
