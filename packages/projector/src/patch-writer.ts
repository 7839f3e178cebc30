import { backoffDelayMs, MillraceError, type BackoffPolicy } from "@millrace/protocol";
import {
  isUnfitRow,
  type CursorStep,
  type DoubleMessage,
  type JobPatch,
  type LogCursor,
  type LogCursors,
  type Store,
} from "@millrace/store";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { wait } from "./wait.ts";

/** A database that is away is tried again for so long; then its caller does what can be done without it. */
const patienceMs = 3000;
const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 1000, jitter: 0.3 };

export interface PatchWriterOptions {
  readonly name: string;
  readonly store: Store;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly signal: AbortSignal;
}

/** What is written in one transaction, about. */
export interface Write {
  readonly patches: readonly JobPatch[];
  readonly to: LogCursors;
  readonly doubles: readonly DoubleMessage[];
  /** Up to where each log was announced. */
  readonly announced: ReadonlyMap<string, number>;
}

/** Writes patches with the cursors, in order. */
export class PatchWriter {
  readonly #options: PatchWriterOptions;
  readonly #cursors: Map<string, LogCursor>;
  /** Why nothing is written at this moment; undefined when all is well. */
  trouble: string | undefined;

  constructor(options: PatchWriterOptions, cursors: LogCursors) {
    this.#options = options;
    this.#cursors = new Map(cursors);
  }

  /**
   * @returns messages that turned out to name a job which came in before, those of `doubles` included
   * @throws MillraceError `aborted` when another projector moved a cursor; `unavailable` when the database stays away; `canceled`
   * when told to stop
   */
  async write(write: Write): Promise<readonly DoubleMessage[]> {
    const { signal, logger, metrics } = this.#options;
    const untilMs = performance.now() + patienceMs;
    for (let failures = 1; ; failures++) {
      if (signal.aborted) throw new MillraceError("canceled", "the projector stops");
      try {
        const doubles = await this.#writeParts(write);
        if (this.trouble !== undefined) logger.info({}, "the database is back");
        this.trouble = undefined;
        return doubles;
      } catch (error) {
        const code = error instanceof MillraceError ? error.code : "internal";
        // Another projector writes.
        if (code !== "aborted") metrics.writeFailed();
        if (!(error instanceof MillraceError) || code !== "unavailable") throw error;
        if (this.trouble === undefined) logger.warn({ err: error }, "the database is away: events wait in their logs");
        this.trouble = error.message;
        if (performance.now() >= untilMs) throw error;
      }
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
  }

  /**
   * A row that the database refuses for what it holds must not hold up all others: it is found by halves, and skipped. Whatever
   * else is wrong, such as a right that was taken away, holds all of them up until it is put right.
   */
  async #writeParts(write: Write): Promise<readonly DoubleMessage[]> {
    try {
      return await this.#step(write);
    } catch (error) {
      if (!isUnfitRow(error)) throw error;
      const { logger, metrics } = this.#options;
      const { patches } = write;
      const [first] = patches;
      if (first === undefined) throw error;
      if (patches.length === 1) {
        logger.error({ err: error, job: first.id, seq: first.eventSeq }, "the database refuses a row: skipped");
        metrics.skipped();
        return this.#step({ ...write, patches: [] });
      }
      const half = patches.length >> 1;
      // The first half is not the end of these messages: should we stop here, they are read again.
      const here = new Map([...write.to.keys()].flatMap((log) => this.#cursorEntry(log)));
      const before = await this.#writeParts({ ...write, patches: patches.slice(0, half), to: here, doubles: [] });
      const after = await this.#writeParts({ ...write, patches: patches.slice(half) });
      return [...before, ...after];
    }
  }

  async #step({ patches, to, doubles, announced }: Write): Promise<readonly DoubleMessage[]> {
    const { name, store, logger, metrics } = this.#options;
    const step: CursorStep = { name, from: this.#cursors, to: this.#moves(to), announced };
    const startedAtMs = Date.now();
    let found = doubles;
    try {
      const applied = await store.applyEvents(patches, step, doubles);
      found = applied.doubles;
      metrics.projected(patches, startedAtMs);
      for (const _ of applied.strangers) metrics.skipped();
      const [first] = applied.strangers;
      if (first !== undefined) {
        const { id, queue, type } = first;
        const events = applied.strangers.length;
        logger.warn({ job: id, queue, type, events }, "a job under the id of another has no row");
      }
    } catch (error) {
      // A commit whose answer was lost: the cursors stand where this step leads, and this writer has put them there.
      const lost = error instanceof MillraceError && error.code === "aborted" && this.trouble !== undefined;
      if (!lost || !(await this.#standsAt(to))) throw error;
    }
    for (const [log, cursor] of to) this.#cursors.set(log, cursor);
    return found;
  }

  /** Those of the cursors that move; one of them at least, which keeps other projectors out. */
  #moves(to: LogCursors): LogCursors {
    const moved = new Map([...to].filter(([log, { seq }]) => this.#cursors.get(log)?.seq !== seq));
    return moved.size > 0 ? moved : new Map([...to].slice(0, 1));
  }

  #cursorEntry(log: string): [string, LogCursor][] {
    const cursor = this.#cursors.get(log);
    return cursor === undefined ? [] : [[log, cursor]];
  }

  async #standsAt(to: LogCursors): Promise<boolean> {
    const stored = await this.#options.store.readCursors(this.#options.name);
    return [...to].every(([log, { seq, streamCreatedMs }]) => {
      const cursor = stored.get(log);
      return cursor?.seq === seq && cursor.streamCreatedMs === streamCreatedMs;
    });
  }
}
