import type { IdentityStore } from "@millrace/store";
import type { IdentityEvents } from "./events.ts";
import type { KeyRing } from "./key-ring.ts";
import type { Membership } from "./membership.ts";

/** Keys that another instance has made are taken up by then, long before they sign. */
const keysEveryMs = 30_000;
const sweepEveryMs = 600_000;
/** Pieces of work at one time; one more is left out. */
const maxRunning = 64;

interface UpkeepDeps {
  readonly keys: KeyRing;
  readonly store: IdentityStore;
  readonly events: IdentityEvents;
  readonly membership: Membership;
  readonly beatMs: number;
}

/** Replaces keys, and removes what has expired, as time goes on. */
export class Upkeep implements AsyncDisposable {
  readonly #events: IdentityEvents;
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #running = new Set<Promise<void>>();

  constructor({ keys, store, events, membership, beatMs }: UpkeepDeps) {
    this.#events = events;
    const every = (ms: number, work: () => Promise<void>): NodeJS.Timeout =>
      setInterval(() => this.run(work), ms).unref();
    this.#timers = [
      every(keysEveryMs, () => keys.rotate()),
      every(sweepEveryMs, () => store.sweep()),
      every(beatMs, () => membership.beat()),
    ];
  }

  /** Does what nobody waits for. */
  run(work: () => Promise<void>): void {
    if (this.#running.size >= maxRunning) return;
    const run = work()
      .catch((error: unknown) => this.#events.upkeepFailed(error))
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#running);
  }
}
