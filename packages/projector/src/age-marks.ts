import type { LogPosition } from "./coalescer.ts";

/** Positions are kept this far apart: a few hundred for the longest time that anybody asks for. */
const betweenMs = 250;
const mostMarks = 4096;

/** Which message of a log was the newest at some time in the past. */
export class AgeMarks {
  readonly #marks: LogPosition[] = [];
  #newest: LogPosition | undefined;

  add(position: LogPosition): void {
    this.#newest = position;
    const last = this.#marks.at(-1);
    if (last !== undefined && position.atMs - last.atMs < betweenMs) return;
    this.#marks.push(position);
    if (this.#marks.length > mostMarks) this.#marks.splice(0, mostMarks >> 1);
  }

  /** A message that was stored before `atMs`, as all before it were; 0 when none is known. What is older is forgotten. */
  newestBefore(atMs: number): number {
    const newest = this.#newest;
    if (newest !== undefined && newest.atMs < atMs) return newest.seq;
    const found = this.#marks.findLastIndex((mark) => mark.atMs < atMs);
    if (found < 0) return 0;
    this.#marks.splice(0, found);
    return this.#marks[0]?.seq ?? 0;
  }
}
