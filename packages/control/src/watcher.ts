import { MillraceError } from "@millrace/protocol";
import type { JobEventAt } from "./job-event-at.ts";
import { positionOf } from "./job-event-at.ts";
import type { TailListener } from "./event-tail.ts";

/** The events that one watcher wants, in a bounded buffer between the tail and a client of any speed. */
export class Watcher implements TailListener {
  readonly #wants: (event: JobEventAt) => boolean;
  readonly #most: number;
  readonly #signal: AbortSignal;
  #buffer: JobEventAt[] = [];
  #end: MillraceError | undefined;
  #wake = Promise.withResolvers<void>();
  #lastTaken = "";

  constructor(wants: (event: JobEventAt) => boolean, most: number, signal: AbortSignal) {
    this.#wants = wants;
    this.#most = most;
    this.#signal = signal;
  }

  onPast(events: readonly JobEventAt[]): void {
    for (const event of events) if (this.#isWanted(event)) this.#buffer.push(event);
    this.#wake.resolve();
  }

  onEvents(events: readonly JobEventAt[]): void {
    if (this.#end !== undefined) return;
    for (const event of events) {
      if (!this.#isWanted(event)) continue;
      if (this.#buffer.length >= this.#most) {
        const resume = this.#lastTaken === "" ? "" : `; resume after ${this.#lastTaken}`;
        this.onEnd(
          new MillraceError(
            "resource_exhausted",
            `this watcher is too slow: ${this.#most} events wait for it${resume}`,
            {
              retryAfterMs: 1000,
            },
          ),
        );
        return;
      }
      this.#buffer.push(event);
    }
    this.#wake.resolve();
  }

  onEnd(error: MillraceError): void {
    this.#end ??= error;
    this.#wake.resolve();
  }

  /** Until the caller goes away (ends) or the tail does (throws). */
  async *events(): AsyncGenerator<JobEventAt> {
    const onAbort = (): void => this.#wake.resolve();
    this.#signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!this.#signal.aborted) {
        // A slow watcher is cut at once: what is in its buffer it gets again when it resumes.
        if (this.#end !== undefined) throw this.#end;
        const events = this.#buffer;
        if (events.length === 0) {
          await this.#wake.promise;
          this.#wake = Promise.withResolvers<void>();
          continue;
        }
        this.#buffer = [];
        for (const event of events) {
          this.#lastTaken = positionOf(event);
          yield event;
        }
      }
    } finally {
      this.#signal.removeEventListener("abort", onAbort);
    }
  }

  /** A watcher's own trouble ends this watcher, not the tail that tells all of them. */
  #isWanted(event: JobEventAt): boolean {
    try {
      return this.#wants(event);
    } catch (error) {
      this.onEnd(
        error instanceof MillraceError ? error : new MillraceError("internal", "internal error", { cause: error }),
      );
      return false;
    }
  }
}
