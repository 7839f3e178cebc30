import type { PriorityLevel } from "@millrace/protocol";

/** Of every 64 jobs, how many a level gets at least while higher ones keep the worker busy; 0: none. */
export interface Floors {
  readonly high: number;
  readonly normal: number;
  readonly low: number;
}

export const defaultFloors: Floors = { high: 0, normal: 8, low: 2 };

const round = 64;
/** A level that could not use its share saves up no more than this. */
const mostSaved = 8;

/** Deficit counters that keep strict priority from starving the lower levels. */
export class PriorityFloors {
  readonly #share: readonly number[];
  readonly #saved = [0, 0, 0, 0, 0];

  constructor(floors: Floors) {
    this.#share = [0, 0, floors.high / round, floors.normal / round, floors.low / round];
  }

  /** Notes that `count` jobs of `level` were served; lower levels earn their share of it, their own share is spent. */
  served(level: PriorityLevel, count = 1): void {
    const saved = this.#saved;
    for (let lower = level + 1; lower <= 4; lower++) {
      saved[lower] = Math.min(mostSaved, (saved[lower] ?? 0) + (this.#share[lower] ?? 0) * count);
    }
    saved[level] = Math.max(0, (saved[level] ?? 0) - count);
  }

  /** How many jobs `level` has earned. */
  due(level: PriorityLevel): number {
    return Math.floor(this.#saved[level] ?? 0);
  }

  /** The lowest level that has earned a job and has work; undefined when strict priority stands. */
  dueLevel(hasWork: (level: PriorityLevel) => boolean): PriorityLevel | undefined {
    for (const level of lowestFirst) if ((this.#saved[level] ?? 0) >= 1 && hasWork(level)) return level;
    return undefined;
  }
}

const lowestFirst: readonly PriorityLevel[] = [4, 3, 2];
