import { JobState } from "@millrace/protocol";
import type { JobPatch } from "@millrace/store";
import { isSameJob, mergePatch } from "./merge-patch.ts";
import type { Rejection } from "./patch-from-copy.ts";

/** Patches that were held back, from messages behind `afterSeq`. */
interface Generation {
  readonly afterSeq: number;
  readonly patches: Map<string, JobPatch>;
}

/** A job that only waits is held back for so many messages: by then most have ended, and are written once instead of twice. */
const mostHeldMessages = 100_000;
/** Of one generation: a few of them are quickly looked through. */
const generationMessages = 25_000;
/** Of what is held back, by its payloads. */
const mostHeldBytes = 64 << 20;
const patchBytes = 512;

export interface PartialWrite {
  readonly patches: JobPatch[];
  /** Written, they make the rows complete up to this message. */
  readonly completeSeq: number;
  readonly next: Coalescer;
}

/** A run of messages as one patch for each job, and how far it reaches. */
export class Coalescer {
  readonly #fresh = new Map<string, JobPatch>();
  /** The newest first. */
  readonly #held: readonly Generation[];
  readonly rejections: Rejection[] = [];
  /** Of the last message taken in. */
  lastSeq: number;
  messages = 0;
  /** Of the messages taken in: what the patches may hold on to. */
  bytes = 0;
  events = 0;
  /** When the stream stored the first of them, Unix ms. */
  firstAtMs = 0;
  readonly #afterSeq: number;
  /** Of several jobs: the one that came first is written first. */
  readonly #sharedIds = new Set<string>();

  /** @param lastSeq the message before the first that this one takes in */
  constructor(lastSeq = 0, held: readonly Generation[] = []) {
    this.lastSeq = lastSeq;
    this.#afterSeq = lastSeq;
    this.#held = held;
  }

  /** Jobs of the messages taken in. */
  get size(): number {
    return this.#fresh.size;
  }

  add(patch: JobPatch): void {
    this.events++;
    const known = this.#find(patch.id);
    if (known === undefined) this.#fresh.set(patch.id, patch);
    else if (isSameJob(known, patch)) mergePatch(known, patch);
    else this.#addStranger(patch);
  }

  /** The oldest first. */
  patches(): JobPatch[] {
    const held = this.#held.toReversed().flatMap((generation) => [...generation.patches.values()]);
    return [...held, ...this.#fresh.values()];
  }

  /**
   * The patches without those of jobs that only wait: these go into the next coalescer, where what becomes of them may be
   * among the messages. None is held back for long, nor are many.
   */
  holdBack(): PartialWrite {
    const patches: JobPatch[] = [];
    const held: Generation[] = [];
    let heldBytes = 0;
    for (const generation of this.#generations().toReversed()) {
      const isOver = this.lastSeq - generation.afterSeq > mostHeldMessages;
      for (const [id, patch] of generation.patches) {
        if (!isOver && heldBytes < mostHeldBytes && onlyWaits(patch) && !this.#sharedIds.has(patch.id)) {
          heldBytes += patchBytes + (patch.submission?.payload.length ?? 0);
          continue;
        }
        patches.push(patch);
        generation.patches.delete(id);
      }
      if (generation.patches.size > 0) held.unshift(generation);
    }
    return { patches, completeSeq: held.at(-1)?.afterSeq ?? this.lastSeq, next: new Coalescer(this.lastSeq, held) };
  }

  /** With what is fresh, as a generation of its own or within the newest one. */
  #generations(): readonly Generation[] {
    const [newest] = this.#held;
    if (newest === undefined || this.lastSeq - newest.afterSeq > generationMessages) {
      return [{ afterSeq: this.#afterSeq, patches: this.#fresh }, ...this.#held];
    }
    for (const [id, patch] of this.#fresh) newest.patches.set(id, patch);
    return this.#held;
  }

  /** Another job by the same id: the database knows whose the row is. Until then both are kept, under keys of their own. */
  #addStranger(patch: JobPatch): void {
    const key = `${patch.id} ${patch.queue} ${patch.type}`;
    const known = this.#find(key);
    if (known === undefined) this.#fresh.set(key, patch);
    else mergePatch(known, patch);
    this.#sharedIds.add(patch.id);
  }

  #find(id: string): JobPatch | undefined {
    const fresh = this.#fresh.get(id);
    if (fresh !== undefined || this.#held.length === 0) return fresh;
    for (const { patches } of this.#held) {
      const patch = patches.get(id);
      if (patch !== undefined) return patch;
    }
    return undefined;
  }
}

function onlyWaits({ state, waitReason, failures, submission }: JobPatch): boolean {
  return state === JobState.QUEUED && waitReason === "" && failures.length === 0 && submission !== undefined;
}
