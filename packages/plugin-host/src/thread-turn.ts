/** Who executes in a thread. Calls that wait hand it on; those that have their answer queue for it. */
export interface ThreadTurn {
  /** Resolves when the call may execute; undefined: at once. */
  take(callId: number): Promise<void> | undefined;
  leave(): void;
}

/**
 * One call at a time, first come, first served. An answer resumes a call some microtasks later: without turns, two answers at
 * once, or an answer and a new call, would make the thread's watchdog blame the wrong one. The queue is bounded by the calls
 * that may wait.
 */
export class SingleTurn implements ThreadTurn {
  readonly #onChange: (callId: number) => void;
  readonly #queue: { readonly callId: number; readonly go: () => void }[] = [];
  #taken = false;

  /** @param onChange hears who executes: a call, or 0 for none */
  constructor(onChange: (callId: number) => void) {
    this.#onChange = onChange;
  }

  take(callId: number): Promise<void> | undefined {
    if (this.#taken) return new Promise((go) => this.#queue.push({ callId, go }));
    this.#taken = true;
    this.#onChange(callId);
    return undefined;
  }

  leave(): void {
    const next = this.#queue.shift();
    this.#taken = next !== undefined;
    this.#onChange(next?.callId ?? 0);
    next?.go();
  }
}
