import type { Job, JobError, JobEventView, JobState, Payload } from "@millrace/protocol";

/** How one of the demo's jobs ended. */
export interface Ended {
  readonly state: JobState;
  readonly result: Payload | undefined;
  readonly error: JobError | undefined;
}

/** What a row or an event says of its job's end. */
export function endOf({ state, result, error }: Job | JobEventView): Ended {
  return { state, result, error };
}

/** The demo's jobs by number: which have ended, and how. Their ids carry the number. */
export class JobLedger {
  readonly #prefix: string;
  readonly #ended: (Ended | undefined)[];
  #count = 0;
  /** When the last one was added, by performance.now(). */
  changedAt = performance.now();

  constructor(prefix: string, total: number) {
    this.#prefix = prefix;
    this.#ended = Array.from({ length: total }, () => undefined);
  }

  get total(): number {
    return this.#ended.length;
  }

  get count(): number {
    return this.#count;
  }

  get complete(): boolean {
    return this.#count === this.#ended.length;
  }

  idOf(index: number): string {
    return this.#prefix + index;
  }

  /** @returns undefined for a job of somebody else */
  indexOf(id: string): number | undefined {
    if (!id.startsWith(this.#prefix)) return undefined;
    const index = Number(id.slice(this.#prefix.length));
    return Number.isInteger(index) && index >= 0 && index < this.#ended.length ? index : undefined;
  }

  get(index: number): Ended | undefined {
    return this.#ended[index];
  }

  add(id: string, ended: Ended): void {
    const index = this.indexOf(id);
    if (index === undefined || this.#ended[index] !== undefined) return;
    this.#ended[index] = ended;
    this.#count++;
    this.changedAt = performance.now();
  }

  missing(most: number): number[] {
    const indices: number[] = [];
    for (let index = 0; index < this.#ended.length && indices.length < most; index++) {
      if (this.#ended[index] === undefined) indices.push(index);
    }
    return indices;
  }
}
