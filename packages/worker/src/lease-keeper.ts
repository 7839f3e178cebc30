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
  readonly #byPlace = new Map<number, Job>();

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
    this.#byPlace.set(placeOf(job), job);
  }

  remove(job: Job): void {
    this.#held.delete(job);
    const place = placeOf(job);
    if (this.#byPlace.get(place) === job) this.#byPlace.delete(place);
  }

  /**
   * Whether the message of `again` is in hand already. If so the job goes on as it is, on the lease of its new delivery: the old one
   * belongs to a consumer, or to a run of the broker, that is no more.
   */
  adopt(again: Job): boolean {
    const job = this.#byPlace.get(placeOf(again));
    if (job === undefined || !job.isSameMessage(again)) return false;
    job.delivery = again.delivery;
    job.serverId = again.serverId;
    job.renewedMs = again.renewedMs;
    job.leaseUntilMs = again.leaseUntilMs;
    this.#held.delete(job);
    this.#held.add(job);
    return true;
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
        this.remove(job);
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

/** One number for a log and a sequence in it. */
function placeOf({ level, delivery }: Job): number {
  return delivery.seq * 4 + level - 1;
}
