import { JobState, Priority } from "@millrace/protocol";
import type { DoubleMessage, JobPatch, JobPlace } from "@millrace/store";
import { isSameJob, mergePatch } from "./merge-patch.ts";
import type { Rejection } from "./patch-from-job.ts";

/** The last message of a log that was taken in. */
export interface LogPosition {
  readonly seq: number;
  /** When its stream stored it, Unix ms. */
  readonly atMs: number;
}

/** By the names of the logs. */
export type LogPositions = ReadonlyMap<string, LogPosition>;

/** Patches that were held back, from messages behind `after`. */
interface Generation {
  readonly after: LogPositions;
  /** Messages of all logs that were taken in before. */
  readonly afterCount: number;
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
  /** Written, they make the rows complete up to these messages. */
  readonly complete: LogPositions;
  readonly next: Coalescer;
}

/** A run of messages of all logs as one patch for each job, and how far it reaches. */
export class Coalescer {
  readonly #fresh = new Map<string, JobPatch>();
  /** The newest first. */
  readonly #held: readonly Generation[];
  readonly rejections: Rejection[] = [];
  /** Messages that name a job which came in before by another one. */
  readonly doubles: DoubleMessage[] = [];
  messages = 0;
  /** Of the messages taken in: what the patches may hold on to. */
  bytes = 0;
  events = 0;
  /** When a stream stored the first of them, Unix ms. */
  firstAtMs = 0;
  readonly #positions: Map<string, LogPosition>;
  readonly #after: LogPositions;
  readonly #afterCount: number;
  /** Of several jobs: the one that came first is written first. */
  readonly #sharedIds = new Set<string>();

  /** @param after the last message of each log before those that this one takes in; @param afterCount how many that were */
  constructor(after: LogPositions = new Map(), afterCount = 0, held: readonly Generation[] = []) {
    this.#positions = new Map(after);
    this.#after = after;
    this.#afterCount = afterCount;
    this.#held = held;
  }

  /** Jobs of the messages taken in. */
  get size(): number {
    return this.#fresh.size;
  }

  /** The last message of each log that was taken in. */
  get positions(): LogPositions {
    return this.#positions;
  }

  /** A message was taken in, whatever it held. */
  reach(log: string, position: LogPosition, bytes: number): void {
    if (this.messages++ === 0) this.firstAtMs = position.atMs;
    this.bytes += bytes;
    this.#positions.set(log, position);
  }

  add(patch: JobPatch): void {
    this.events++;
    const known = this.#find(patch.id);
    if (known === undefined) this.#fresh.set(patch.id, patch);
    else if (!isSameJob(known, patch)) this.#addAside(`${patch.id} ${patch.queue} ${patch.type}`, patch);
    else if (isOfOther(known, patch) && !areFirsts(known, patch)) this.#part(known, patch);
    else this.#merge(known, patch);
  }

  /** The oldest first. */
  patches(): JobPatch[] {
    const held = this.#held.toReversed().flatMap((generation) => [...generation.patches.values()]);
    return [...held, ...this.#fresh.values()];
  }

  /** All of it, and an empty one that goes on from here. */
  whole(): PartialWrite {
    const next = new Coalescer(this.positions, this.#count);
    return { patches: this.patches(), complete: this.positions, next };
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
      const isOver = this.#count - generation.afterCount > mostHeldMessages;
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
    const complete = held.at(-1)?.after ?? this.positions;
    return { patches, complete, next: new Coalescer(this.positions, this.#count, held) };
  }

  get #count(): number {
    return this.#afterCount + this.messages;
  }

  /** With what is fresh, as a generation of its own or within the newest one. */
  #generations(): readonly Generation[] {
    const [newest] = this.#held;
    if (newest === undefined || this.#count - newest.afterCount > generationMessages) {
      return [{ after: this.#after, afterCount: this.#afterCount, patches: this.#fresh }, ...this.#held];
    }
    for (const [id, patch] of this.#fresh) newest.patches.set(id, patch);
    return this.#held;
  }

  /** Of two messages by which a run came in the earlier one, by the broker's time, is the job. */
  #merge(known: JobPatch, next: JobPatch): void {
    const isSecond = isOther(known.first, next.first) && known.first?.run === next.first?.run;
    const { first } = known;
    if (isSecond && first !== undefined && next.submittedAtMs < known.submittedAtMs) {
      this.doubles.push({ id: known.id, stream: first.stream, seq: first.seq, atMs: known.submittedAtMs });
      if (!isOther(known.place, first)) known.place = next.place;
      known.first = next.first;
      known.submission = next.submission;
      known.submittedAtMs = next.submittedAtMs;
      known.priority = next.priority;
      return;
    }
    const isAgain = isOther(known.place, next.place) && known.place?.version === next.place?.version;
    const double = isSecond ? next.first : isAgain ? next.place : undefined;
    if (double === undefined) return mergePatch(known, next);
    this.doubles.push({ id: next.id, stream: double.stream, seq: double.seq, atMs: next.submittedAtMs });
  }

  /**
   * Another job by the same id, or what is told of another message of it: the database knows whose the row is. Until then both are
   * kept, under keys of their own.
   */
  #addAside(key: string, patch: JobPatch): void {
    const known = this.#find(key);
    if (known === undefined) this.#fresh.set(key, patch);
    else if (!isOfOther(known, patch)) this.#merge(known, patch);
    this.#sharedIds.add(patch.id);
  }

  /** Keeps apart what is told of two messages. The earlier one, by the broker's time, is written first. */
  #part(known: JobPatch, next: JobPatch): void {
    if (next.first === undefined || next.submittedAtMs >= known.submittedAtMs) {
      this.#addAside(keyBeside(known, next), next);
      return;
    }
    const patches = this.#fresh.has(known.id)
      ? this.#fresh
      : this.#held.find((held) => held.patches.has(known.id))?.patches;
    const key = keyBeside(known, next);
    const told = this.#fresh.get(key);
    if (told !== undefined) mergePatch(next, told);
    this.#fresh.delete(key);
    patches?.set(known.id, next);
    this.#addAside(keyBeside(next, known), known);
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

type Place = Pick<JobPlace, "stream" | "seq">;

/** Whether both are known, and differ. */
function isOther(a: Place | undefined, b: Place | undefined): boolean {
  return a !== undefined && b !== undefined && (a.stream !== b.stream || a.seq !== b.seq);
}

/** Whether two patches tell of two messages of one id, and of what became of each: a job keeps its priority in all its attempts. */
function isOfOther(known: JobPatch, next: JobPatch): boolean {
  if (known.place === undefined || next.place === undefined) return false;
  if (hasOtherPriority(known, next)) return true;
  const areMessages = known.eventSeq === 0 && next.eventSeq === 0;
  return !areMessages && isOther(known.place, next.place) && known.place.version === next.place.version;
}

function hasOtherPriority(known: JobPatch, next: JobPatch): boolean {
  return (
    known.priority !== next.priority &&
    known.priority !== Priority.UNSPECIFIED &&
    next.priority !== Priority.UNSPECIFIED
  );
}

/** Whether the run came in by both messages, and nothing more is known of either. */
function areFirsts(known: JobPatch, next: JobPatch): boolean {
  return (
    known.eventSeq === 0 && next.eventSeq === 0 && known.first !== undefined && known.first.run === next.first?.run
  );
}

/** Under which a patch is kept beside another one of its id. */
function keyBeside(other: JobPatch, patch: JobPatch): string {
  const { id, priority, place } = patch;
  return hasOtherPriority(other, patch) ? `${id} ${priority}` : `${id} ${place?.stream}/${place?.seq}`;
}

function onlyWaits({ state, waitReason, failures, submission }: JobPatch): boolean {
  return state === JobState.QUEUED && waitReason === "" && failures.length === 0 && submission !== undefined;
}
