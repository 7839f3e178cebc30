import { fromBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import { JobResultSchema, MillraceError, type JobResult } from "@millrace/protocol";

/** So many owners find room to wait, however long the others do. */
const ownersAtLeast = 5;

/** A caller that waits for the result of one job. */
export interface ResultWait extends Disposable {
  /** Goes into the job's reply header. */
  readonly subject: string;
  /** Resolves with undefined when the time is over or the caller has gone. */
  within(ms: number, signal: AbortSignal): Promise<JobResult | undefined>;
}

/** Results on their way from workers to waiting callers: one wildcard subscription for all of them. */
export class ResultInbox implements Disposable {
  readonly #inbox: string;
  readonly #subscription: Disposable;
  readonly #waits = new Map<string, (result: JobResult) => void>();
  readonly #most: number;
  /** Of each owner. */
  readonly #counts = new Map<string, number>();
  #next = 0;

  constructor(bus: Bus, most: number) {
    this.#most = most;
    this.#inbox = bus.newInbox("results");
    this.#subscription = bus.subscribe(`${this.#inbox}.*`, {}, (message) => {
      const resolve = this.#waits.get(message.subject);
      if (resolve === undefined) return;
      try {
        resolve(fromBinary(JobResultSchema, message.data.slice()));
      } catch (error) {
        // Anybody may publish to an inbox; the caller still gets the row.
        bus.logger.warn({ err: error }, "a result that is none");
      }
    });
  }

  get waiting(): number {
    return this.#waits.size;
  }

  /**
   * @param owner has a share of the room; "" for one that nobody names
   * @throws MillraceError resource_exhausted when too many wait
   */
  open(owner: string): ResultWait {
    if (this.#waits.size >= this.#most) {
      throw new MillraceError("resource_exhausted", `${this.#most} callers wait for results`, { retryAfterMs: 1000 });
    }
    const count = this.#counts.get(owner) ?? 0;
    const mostOfOwner = Math.ceil(this.#most / ownersAtLeast);
    if (owner !== "" && count >= mostOfOwner) {
      throw new MillraceError("resource_exhausted", `you wait for ${mostOfOwner} results`, { retryAfterMs: 1000 });
    }
    this.#counts.set(owner, count + 1);
    const subject = `${this.#inbox}.${(this.#next++).toString(36)}`;
    const { promise, resolve } = Promise.withResolvers<JobResult | undefined>();
    this.#waits.set(subject, resolve);
    return {
      subject,
      within: async (ms, signal) => {
        const end = (): void => resolve(undefined);
        const timer = setTimeout(end, ms);
        signal.addEventListener("abort", end, { once: true });
        if (signal.aborted) end();
        try {
          return await promise;
        } finally {
          clearTimeout(timer);
          signal.removeEventListener("abort", end);
        }
      },
      [Symbol.dispose]: () => {
        if (!this.#waits.delete(subject)) return;
        const left = (this.#counts.get(owner) ?? 1) - 1;
        if (left === 0) this.#counts.delete(owner);
        else this.#counts.set(owner, left);
      },
    };
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }
}
