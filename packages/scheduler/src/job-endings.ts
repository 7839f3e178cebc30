import type { Bus } from "@millrace/bus";
import { isTerminal } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import type { SchedulerLogger } from "./scheduler-signals.ts";
import { wait } from "./wait.ts";

/** A worker tells the end at once; that may get lost, and the row does not. */
const firstLookMs = 2_000;
const longestPauseMs = 5_000;
/** A database that does not answer must not hold what can go on without it. */
const lookTimeoutMs = 2_000;

export interface ExpectedEnding extends Disposable {
  /** For the job's reply header. */
  readonly replyTo: string;
  /** Resolves when the job has ended, in whatever way, or the signal is aborted. */
  ended(signal: AbortSignal, options?: { lookAtOnce: boolean }): Promise<void>;
}

/** Tells when jobs have ended: one wildcard subscription for all that wait. */
export class JobEndings implements Disposable {
  readonly #store: Store;
  readonly #logger: SchedulerLogger;
  readonly #inbox: string;
  readonly #subscription: Disposable;
  readonly #waits = new Map<string, () => void>();
  #next = 0;

  constructor(bus: Bus, store: Store, logger: SchedulerLogger) {
    this.#store = store;
    this.#logger = logger;
    this.#inbox = bus.newInbox("results");
    this.#subscription = bus.subscribe(`${this.#inbox}.*`, {}, ({ subject }) => this.#waits.get(subject)?.());
  }

  expect(id: string): ExpectedEnding {
    const replyTo = `${this.#inbox}.${(this.#next++).toString(36)}`;
    const told = new AbortController();
    this.#waits.set(replyTo, () => told.abort());
    return {
      replyTo,
      ended: async (signal, { lookAtOnce } = { lookAtOnce: false }) => {
        const over = AbortSignal.any([signal, told.signal]);
        let pauseMs = lookAtOnce ? 50 : firstLookMs;
        for (await wait(pauseMs, over); !over.aborted; await wait(pauseMs, over)) {
          if ((await this.look(id)) === "ended") return;
          pauseMs = Math.min(pauseMs * 2, longestPauseMs);
        }
      },
      [Symbol.dispose]: () => void this.#waits.delete(replyTo),
    };
  }

  /** By its row. @returns undefined when there is none, or that cannot be known now */
  async look(id: string): Promise<"ended" | "alive" | undefined> {
    const late = new AbortController();
    try {
      const found = await Promise.race([
        this.#store.getJob(id),
        wait(lookTimeoutMs, late.signal).then(() => Promise.reject(new Error("the database does not answer"))),
      ]);
      if (found === undefined) return undefined;
      return isTerminal(found.job.state) ? "ended" : "alive";
    } catch (error) {
      this.#logger.debug({ id, err: error }, "cannot see whether a job has ended");
      return undefined;
    } finally {
      late.abort();
    }
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }
}
