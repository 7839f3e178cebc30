import type { Job } from "./job.ts";

interface Guest {
  readonly job: Job;
  readonly timer: NodeJS.Timeout;
}

/** Jobs that are held for a while without running: retries with a short delay, types without a handler. */
export class WaitingRoom {
  readonly capacity: number;
  readonly #guests = new Map<Job, Guest>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get size(): number {
    return this.#guests.size;
  }

  get full(): boolean {
    return this.#guests.size >= this.capacity;
  }

  /** Holds a job; `onDue` runs after `ms` unless it left before. */
  enter(job: Job, ms: number, onDue: () => void): void {
    const timer = setTimeout(() => {
      this.#guests.delete(job);
      onDue();
    }, ms);
    this.#guests.set(job, { job, timer });
  }

  /** @returns whether it was here */
  leave(job: Job): boolean {
    const guest = this.#guests.get(job);
    if (guest === undefined) return false;
    clearTimeout(guest.timer);
    return this.#guests.delete(job);
  }

  jobs(): Job[] {
    return [...this.#guests.keys()];
  }

  /** All jobs, who leave with it. */
  empty(): Job[] {
    const jobs = [...this.#guests.keys()];
    for (const job of jobs) this.leave(job);
    return jobs;
  }
}
