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
  /** By their places; oldest renewal first. */
  readonly #held = new Map<number, Job>();
  /** Whose places are others' too: a broker that was killed counts on from before. */
  readonly #displaced = new Set<Job>();

  constructor(bus: Bus, ackWaitMs: number, onLost: (job: Job) => void) {
    this.#bus = bus;
    this.#ackWaitMs = ackWaitMs;
    this.#onLost = onLost;
  }

  get firstLeaseMs(): number {
    return this.#ackWaitMs * firstLeaseShare;
  }

  get size(): number {
    return this.#held.size + this.#displaced.size;
  }

  add(job: Job): void {
    const place = placeOf(job);
    const before = this.#held.get(place);
    if (before !== undefined) {
      this.#held.delete(place);
      this.#displaced.add(before);
    }
    this.#held.set(place, job);
  }

  remove(job: Job): void {
    const place = placeOf(job);
    if (this.#held.get(place) === job) this.#held.delete(place);
    else this.#displaced.delete(job);
  }

  /**
   * Whether the message of `again` is in hand already. If so the job goes on as it is, on the lease of its new delivery: the old one
   * belongs to a consumer, or to a run of the broker, that is no more.
   */
  adopt(again: Job): boolean {
    const place = placeOf(again);
    const job = this.#held.get(place);
    if (job === undefined || !job.isSameMessage(again)) return false;
    job.delivery = again.delivery;
    job.serverId = again.serverId;
    job.renewedMs = again.renewedMs;
    job.leaseUntilMs = again.leaseUntilMs;
    this.#held.delete(place);
    this.#held.set(place, job);
    return true;
  }

  /** Jobs in hand; for rare questions only. */
  *jobs(): Iterable<Job> {
    yield* this.#held.values();
    yield* this.#displaced;
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
    const due = [...this.#displaced].filter((job) => this.#isDue(job, nowMs));
    for (const job of this.#held.values()) {
      // Renewed jobs go to the end, so the rest is younger still.
      if (!this.#isDue(job, nowMs)) break;
      due.push(job);
    }
    for (const job of due) {
      if (nowMs >= job.leaseUntilMs) {
        this.remove(job);
        this.#onLost(job);
      } else if (this.#bus.inProgress(job.delivery.reply)) {
        job.renewedMs = nowMs;
        job.leaseUntilMs = nowMs + this.#ackWaitMs;
        this.#toEnd(job);
      }
    }
  }

  #isDue(job: Job, nowMs: number): boolean {
    return nowMs - job.renewedMs >= this.#ackWaitMs / 3;
  }

  #toEnd(job: Job): void {
    const place = placeOf(job);
    if (this.#held.get(place) !== job) return;
    this.#held.delete(place);
    this.#held.set(place, job);
  }
}

/** One number for a log and a sequence in it. */
function placeOf({ level, delivery }: Job): number {
  return delivery.seq * 4 + level - 1;
}
