import { backoffDelayMs, MillraceError, type BackoffPolicy } from "@millrace/protocol";
import { isUnfitRow, type CursorStep, type JobPatch, type ProjectionCursor, type Store } from "@millrace/store";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { wait } from "./wait.ts";

/** While the database is away: soon at first, then every five seconds or so, without end. */
const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

export interface PatchWriterOptions {
  readonly name: string;
  readonly store: Store;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly signal: AbortSignal;
}

/** Writes patches with the cursor, in order, and does not give up while the database is away. */
export class PatchWriter {
  readonly #options: PatchWriterOptions;
  #cursor: ProjectionCursor | undefined;
  /** Why nothing is written at this moment; undefined when all is well. */
  trouble: string | undefined;

  constructor(options: PatchWriterOptions, cursor: ProjectionCursor | undefined) {
    this.#options = options;
    this.#cursor = cursor;
  }

  /**
   * @throws MillraceError `aborted` when another projector moved the cursor; `canceled` when told to stop
   */
  async write(patches: readonly JobPatch[], to: ProjectionCursor): Promise<void> {
    const { signal, logger, metrics } = this.#options;
    for (let failures = 1; ; failures++) {
      if (signal.aborted) throw new MillraceError("canceled", "the projector stops");
      try {
        await this.#writeParts(patches, to);
        if (this.trouble !== undefined) logger.info({ seq: to.seq }, "the database is back");
        this.trouble = undefined;
        return;
      } catch (error) {
        const code = error instanceof MillraceError ? error.code : "internal";
        // Another projector writes.
        if (code !== "aborted") metrics.writeFailed();
        if (!(error instanceof MillraceError) || code !== "unavailable") throw error;
        if (this.trouble === undefined)
          logger.warn({ err: error, seq: to.seq }, "the database is away: events wait in their stream");
        this.trouble = error.message;
      }
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
  }

  /**
   * A row that the database refuses for what it holds must not hold up all others: it is found by halves, and skipped. Whatever
   * else is wrong, such as a right that was taken away, holds all of them up until it is put right.
   */
  async #writeParts(patches: readonly JobPatch[], to: ProjectionCursor): Promise<void> {
    try {
      await this.#step(patches, to);
    } catch (error) {
      if (!isUnfitRow(error)) throw error;
      const { logger, metrics } = this.#options;
      const [first] = patches;
      if (first === undefined) throw error;
      if (patches.length === 1) {
        logger.error({ err: error, job: first.id, seq: first.eventSeq }, "the database refuses a row: skipped");
        metrics.skipped();
        return this.#step([], to);
      }
      const half = patches.length >> 1;
      // The first half is not the end of these messages: should we stop here, they are read again.
      const here = this.#cursor ?? { seq: 0, streamCreatedMs: to.streamCreatedMs };
      await this.#writeParts(patches.slice(0, half), here);
      await this.#writeParts(patches.slice(half), to);
    }
  }

  async #step(patches: readonly JobPatch[], to: ProjectionCursor): Promise<void> {
    const { name, store, logger, metrics } = this.#options;
    const step: CursorStep = { name, from: this.#cursor, to };
    const startedAtMs = Date.now();
    try {
      const strangers = await store.applyEvents(patches, step);
      metrics.projected(patches, startedAtMs);
      for (const _ of strangers) metrics.skipped();
      const [first] = strangers;
      if (first !== undefined) {
        const { id, queue, type } = first;
        logger.warn({ job: id, queue, type, events: strangers.length }, "a job under the id of another has no row");
      }
    } catch (error) {
      // A commit whose answer was lost: the cursor stands where this step leads, and this writer has put it there.
      const lost = error instanceof MillraceError && error.code === "aborted" && this.trouble !== undefined;
      if (!lost || !(await this.#standsAt(to))) throw error;
    }
    this.#cursor = to;
  }

  async #standsAt({ seq, streamCreatedMs }: ProjectionCursor): Promise<boolean> {
    const cursor = await this.#options.store.readCursor(this.#options.name);
    return cursor?.seq === seq && cursor.streamCreatedMs === streamCreatedMs;
  }
}
