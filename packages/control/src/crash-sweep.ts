import type { Bus } from "@millrace/bus";
import { isTerminal } from "@millrace/protocol";
import type { Store } from "@millrace/store";

/** Puts the job streams right, once at the start and once after each new connection: the broker may have crashed. */
export class CrashSweep implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #store: Store;
  readonly #listening: Disposable;
  #sweeping: Promise<void>;
  #wanted = false;

  constructor(bus: Bus, store: Store) {
    this.#bus = bus;
    this.#store = store;
    this.#listening = bus.onStatus(({ connected }) => {
      if (connected) this.#again();
    });
    this.#sweeping = this.#sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listening[Symbol.dispose]();
    this.#wanted = false;
    await this.#sweeping;
  }

  /** However often the connection comes back during one sweep, one more follows. */
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
    try {
      await this.#bus.sweepZombies({
        isFinished: async ({ id }) => {
          const stored = await this.#store.getJob(id);
          return stored !== undefined && isTerminal(stored.job.state);
        },
      });
    } catch (error) {
      // Gone again, or the database is away: the next connection sweeps.
      this.#bus.logger.warn({ err: error }, "job streams not swept");
    }
  }
}
