interface Target {
  once(event: "close", listener: () => void): unknown;
}

/** Less than this is not counted: it costs no more than the stream or socket that it waits on. */
const smallBytes = 4 * 1024;

/** Bounds what is kept of whole answers that peers have not taken. */
export class AnswerBudget {
  readonly #maxBytes: number;
  readonly #onRefused: () => void;
  #heldBytes = 0;

  /** @param onRefused told of every answer that there was no room for */
  constructor(maxBytes: number, onRefused: () => void) {
    this.#maxBytes = maxBytes;
    this.#onRefused = onRefused;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Counts an answer until its target closes.
   * @returns false when there is no room for it
   */
  hold(bytes: number, target: Target): boolean {
    if (bytes <= smallBytes) return true;
    if (this.#heldBytes + bytes > this.#maxBytes) {
      this.#onRefused();
      return false;
    }
    this.#heldBytes += bytes;
    target.once("close", () => (this.#heldBytes -= bytes));
    return true;
  }
}
