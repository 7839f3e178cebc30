import type { JobPatch } from "@millrace/store";
import { mergePatch } from "./merge-patch.ts";
import type { Rejection } from "./patch-from-copy.ts";

/** A run of messages as one patch for each job, and how far it reaches. */
export class Coalescer {
  readonly #patches = new Map<string, JobPatch>();
  readonly rejections: Rejection[] = [];
  /** Of the last message taken in. */
  lastSeq = 0;
  messages = 0;
  /** Of the messages taken in: what the patches may hold on to. */
  bytes = 0;
  events = 0;
  /** When the stream stored the first of them, Unix ms. */
  firstAtMs = 0;

  get size(): number {
    return this.#patches.size;
  }

  add(patch: JobPatch): void {
    this.events++;
    const known = this.#patches.get(patch.id);
    if (known === undefined) this.#patches.set(patch.id, patch);
    else mergePatch(known, patch);
  }

  patches(): JobPatch[] {
    return [...this.#patches.values()];
  }
}
