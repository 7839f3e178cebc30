import { decodeCancelMark, decodePlaceMark, jobStream, placeMarkKey, priorityName } from "@millrace/protocol";
import type { Job } from "./job.ts";

/** What has come up to be done about a mark: end a job's runs up to this one, or pass over a message. */
export type MarkNews =
  | { readonly kind: "cancel"; readonly id: string; readonly run: number }
  | { readonly kind: "bar" }
  | undefined;

/** The bucket `cancel` as it stands: which runs of which jobs are cancelled, and which messages are the second of a job. */
export class CancelMarks {
  readonly #runs = new Map<string, number>();
  /** By placeMarkKey. */
  readonly #places = new Set<string>();

  get size(): number {
    return this.#runs.size + this.#places.size;
  }

  /** @param value undefined: the mark is gone */
  apply(key: string, value: Uint8Array | undefined): MarkNews {
    if (value === undefined) {
      this.#runs.delete(key);
      this.#places.delete(key);
      return undefined;
    }
    if (decodePlaceMark(key, value) !== undefined) {
      this.#places.add(key);
      return { kind: "bar" };
    }
    const run = decodeCancelMark(key, value)?.run ?? 0;
    this.#runs.set(key, run);
    return { kind: "cancel", id: key, run };
  }

  /** Whether the run of a job is cancelled. */
  cancels(job: Job): boolean {
    return this.#runs.size > 0 && (this.#runs.get(job.id) ?? 0) >= job.options.run;
  }

  /** Whether a message is not to run: its job came in before. */
  bars({ level, delivery }: Job): boolean {
    return this.#places.size > 0 && this.#places.has(placeMarkKey(jobStream(priorityName(level)), delivery.seq));
  }
}
