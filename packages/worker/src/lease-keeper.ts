import type { Bus } from "@millrace/bus";
import type { Job } from "./job.ts";

/** Share of the lease that we trust at first: the message may have lain in a buffer before our clock began. */
const firstLeaseShare = 0.9;

/**
 * Keeps the leases of all jobs in hand alive, whatever their handlers do, and gives up those that our own clock says are
 * gone: the broker has handed them to somebody else.
 */
export class LeaseKeeper {
  readonly #bus: Bus;
  readonly #ackWaitMs: number;
  readonly #onLost: (job: Job) => void;
  /** Oldest renewal first. */
  readonly #held = new Set<Job>();

  constructor(bus: Bus, ackWaitMs: number, onLost: (job: Job) => void) {
    this.#bus = bus;
    this.#ackWaitMs = ackWaitMs;
    this.#onLost = onLost;
  }

  get firstLeaseMs(): number {
    return this.#ackWaitMs * firstLeaseShare;
  }

  get size(): number {
    return this.#held.size;
  }

  add(job: Job): void {
    this.#held.add(job);
  }

  remove(job: Job): void {
    this.#held.delete(job);
  }

  /** Jobs in hand; for rare questions only. */
  jobs(): Iterable<Job> {
    return this.#held;
  }

  /** Ticks until disposed. */
  start(onError: (error: unknown) => void): Disposable {
    const timer = setInterval(
      () => {
        try {
          this.tick(performance.now());
        } catch (error) {
          onError(error);
        }
      },
      Math.max(20, this.#ackWaitMs / 6),
    );
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  tick(nowMs: number): void {
    const due: Job[] = [];
    for (const job of this.#held) {
      // Renewed jobs go to the end, so the rest is younger still.
      if (nowMs - job.renewedMs < this.#ackWaitMs / 3) break;
      due.push(job);
    }
    for (const job of due) {
      if (nowMs >= job.leaseUntilMs) {
        this.#held.delete(job);
        this.#onLost(job);
      } else if (this.#bus.inProgress(job.delivery.reply)) {
        job.renewedMs = nowMs;
        job.leaseUntilMs = nowMs + this.#ackWaitMs;
        this.#held.delete(job);
        this.#held.add(job);
      }
    }
  }
}
