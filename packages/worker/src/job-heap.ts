import { Mailbox } from "@millrace/actor";
import { priorityLevels, type PriorityLevel } from "@millrace/protocol";
import { PriorityFloors, type Floors } from "./priority-floors.ts";

/** What the heap has to know of a job. */
export interface Ranked {
  readonly level: PriorityLevel;
  readonly queue: string;
}

/** The intake's credits bound what lies here; this is only the ring's own limit. */
const mostPerQueue = 1 << 20;
/** Jobs of one queue in a row while others of its level wait. */
const quantum = 8;

/** Jobs that were pulled and do not run yet: four levels, fair between queues within each. */
export class JobHeap<J extends Ranked> {
  readonly #levels: readonly Level<J>[] = priorityLevels.map(() => new Level<J>());
  readonly #floors: PriorityFloors;
  #size = 0;

  constructor(floors: Floors) {
    this.#floors = new PriorityFloors(floors);
  }

  get size(): number {
    return this.#size;
  }

  sizeAt(level: PriorityLevel): number {
    return this.#level(level).size;
  }

  push(job: J): void {
    this.#level(job.level).push(job);
    this.#size++;
  }

  /** Puts back a job that was popped and did not run: it goes before its equals. */
  unpop(job: J): void {
    this.#level(job.level).returned.push(job);
    this.#size++;
  }

  /** The next job: the highest level, or a lower one whose floor is due. */
  pop(): J | undefined {
    if (this.#size === 0) return undefined;
    const top = priorityLevels.find((level) => this.sizeAt(level) > 0) ?? 4;
    const due = this.#size === this.sizeAt(top) ? undefined : this.#floors.dueLevel((level) => this.sizeAt(level) > 0);
    return this.#take(due === undefined || due < top ? top : due);
  }

  /** The next critical job, for the slots that are kept for them. */
  popCritical(): J | undefined {
    return this.sizeAt(1) === 0 ? undefined : this.#take(1);
  }

  /** Takes out all jobs that `match`, for a pause or a drain. */
  remove(match: (job: J) => boolean): J[] {
    const removed: J[] = [];
    for (const level of this.#levels) level.remove(match, removed);
    this.#size -= removed.length;
    return removed;
  }

  #take(level: PriorityLevel): J | undefined {
    this.#floors.served(level);
    this.#size--;
    return this.#level(level).shift();
  }

  #level(level: number): Level<J> {
    const found = this.#levels[level - 1];
    if (found === undefined) throw new RangeError(`no level ${level}`);
    return found;
  }
}

/** One level: deficit round robin between its queues, every job costing the same. */
class Level<J extends Ranked> {
  readonly returned: J[] = [];
  readonly #rings = new Map<string, Mailbox<J>>();
  #turn: Mailbox<J>[] = [];
  #left = quantum;
  #waiting = 0;

  get size(): number {
    return this.#waiting + this.returned.length;
  }

  push(job: J): void {
    let ring = this.#rings.get(job.queue);
    if (ring === undefined) this.#rings.set(job.queue, (ring = new Mailbox<J>(mostPerQueue)));
    if (ring.size === 0) this.#turn.push(ring);
    if (!ring.push(job)) throw new RangeError("heap overflow");
    this.#waiting++;
  }

  shift(): J | undefined {
    const back = this.returned.pop();
    if (back !== undefined) return back;
    const ring = this.#turn[0];
    const job = ring?.shift();
    if (ring === undefined || job === undefined) return undefined;
    this.#waiting--;
    if (ring.size === 0) {
      this.#turn.shift();
      this.#left = quantum;
    } else if (--this.#left <= 0) {
      this.#turn.shift();
      this.#turn.push(ring);
      this.#left = quantum;
    }
    return job;
  }

  remove(match: (job: J) => boolean, removed: J[]): void {
    const kept: J[] = [];
    for (let job = this.shift(); job !== undefined; job = this.shift()) (match(job) ? removed : kept).push(job);
    for (const job of kept) this.push(job);
  }
}
