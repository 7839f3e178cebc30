import type { IdentityStore } from "@millrace/store";
import type { IdentityEvents } from "./events.ts";
import type { KeyRing } from "./key-ring.ts";

/** Keys that another instance has made are taken up by then, long before they sign. */
const keysEveryMs = 30_000;
const sweepEveryMs = 600_000;

/** Replaces keys, and removes what has expired, as time goes on. */
export class Upkeep implements AsyncDisposable {
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #running = new Set<Promise<void>>();

  constructor({ keys, store, events }: { keys: KeyRing; store: IdentityStore; events: IdentityEvents }) {
    const every = (ms: number, work: () => Promise<void>): NodeJS.Timeout =>
      setInterval(() => {
        const run = work()
          .catch((error: unknown) => events.upkeepFailed(error))
          .finally(() => this.#running.delete(run));
        this.#running.add(run);
      }, ms).unref();
    this.#timers = [every(keysEveryMs, () => keys.rotate()), every(sweepEveryMs, () => store.sweep())];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#running);
  }
}
