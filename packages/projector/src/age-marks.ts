import type { LogPosition } from "./coalescer.ts";

/** Positions are kept this far apart: a few hundred for the longest time that anybody asks for. */
const betweenMs = 250;
const mostMarks = 4096;

/** Which message of a log was the newest at some time in the past. */
export class AgeMarks {
  readonly #marks: LogPosition[] = [];

  add(position: LogPosition): void {
    const last = this.#marks.at(-1);
    if (last !== undefined && position.atMs - last.atMs < betweenMs) return;
    this.#marks.push(position);
    if (this.#marks.length > mostMarks) this.#marks.splice(0, mostMarks >> 1);
  }

  /** A message that was stored before `atMs`, and all before it too; 0 when none is known. Older ones are forgotten. */
  newestBefore(atMs: number): number {
    let found = 0;
    for (const mark of this.#marks) if (mark.atMs < atMs) found++;
    if (found === 0) return 0;
    this.#marks.splice(0, found - 1);
    return this.#marks[0]?.seq ?? 0;
  }
}
