/** Calls `sweep` every `everyMs` while there is something to sweep: one timer in place of one a message. */
export class Sweeper implements Disposable {
  readonly #everyMs: number;
  readonly #sweep: (nowMs: number) => boolean;
  #timer: NodeJS.Timeout | undefined;

  /** @param sweep returns false when nothing is left; the timer then rests until `wake` */
  constructor(everyMs: number, sweep: (nowMs: number) => boolean) {
    this.#everyMs = everyMs;
    this.#sweep = sweep;
  }

  wake(): void {
    this.#timer ??= setInterval(() => {
      if (!this.#sweep(Date.now())) this[Symbol.dispose]();
    }, this.#everyMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
