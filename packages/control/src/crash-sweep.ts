import { setTimeout as pause } from "node:timers/promises";
import type { Bus } from "@millrace/bus";
import { eventsStream, isTerminal, MillraceError } from "@millrace/protocol";
import type { Store } from "@millrace/store";

export interface CrashSweepOptions {
  readonly bus: Bus;
  readonly store: Store;
  /** Beside each new connection: a job that is stored after the sweep may still get a place below the consumer's ack floor. */
  readonly everyMs: number;
  /** How long the rows may take to catch up before a job without an end counts as not run. */
  readonly projectionWaitMs: number;
  /** Name under which the projector keeps its place. */
  readonly cursor: string;
}

const projectionPollMs = 100;

/**
 * Puts the job streams right at the start, after each new connection, and from time to time: the broker may have crashed.
 *
 * Whether a message that is left over was run is decided by its job's row, never by its age: after two crashes in a row an old
 * message may be one that nobody ever got. In doubt it runs (again).
 */
export class CrashSweep implements AsyncDisposable {
  readonly #options: CrashSweepOptions;
  readonly #listening: Disposable;
  readonly #timer: NodeJS.Timeout;
  readonly #stop = new AbortController();
  #sweeping: Promise<void>;
  #wanted = false;

  constructor(options: CrashSweepOptions) {
    this.#options = options;
    this.#listening = options.bus.onStatus(({ connected }) => {
      if (connected) this.#again();
    });
    this.#timer = setInterval(() => this.#again(), options.everyMs);
    this.#sweeping = this.#sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#listening[Symbol.dispose]();
    this.#wanted = false;
    this.#stop.abort();
    await this.#sweeping;
  }

  /** However often it is asked for during one sweep, one more follows. */
  #again(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#sweeping = this.#sweeping.then(() => {
      if (!this.#wanted) return undefined;
      this.#wanted = false;
      return this.#sweep();
    });
  }

  async #sweep(): Promise<void> {
    const { bus } = this.#options;
    let asked = false;
    try {
      await bus.sweepZombies({
        // No message is older than this.
        serverStartedMs: 0,
        isFinished: async ({ id }) => {
          if (!asked) await this.#projected();
          asked = true;
          return this.#hasEnded(id);
        },
      });
    } catch (error) {
      // The connection is gone again: the next one sweeps.
      bus.logger.warn({ err: error }, "job streams not swept");
    }
  }

  /** While the database is away no row tells: the job runs again rather than waits. */
  async #hasEnded(id: string): Promise<boolean> {
    const stored = await this.#options.store.getJob(id).catch(ignoreUnavailable);
    return stored !== undefined && isTerminal(stored.job.state);
  }

  /** Waits, within bounds, until the rows hold what is in EVENTS at this moment: an outcome is there before its ack is. */
  async #projected(): Promise<void> {
    const { bus, store, cursor, projectionWaitMs } = this.#options;
    const { signal } = this.#stop;
    const { lastSeq } = await bus.streamState(eventsStream);
    for (let waited = 0; waited < projectionWaitMs && !signal.aborted; waited += projectionPollMs) {
      const place = await store.readCursor(cursor).catch(ignoreUnavailable);
      if (place === undefined || place.seq >= lastSeq) return;
      await pause(projectionPollMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

function ignoreUnavailable(error: unknown): undefined {
  if (error instanceof MillraceError && error.code === "unavailable") return undefined;
  throw error;
}
