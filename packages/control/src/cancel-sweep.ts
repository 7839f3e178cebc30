import { BusError } from "@millrace/bus";
import {
  EventKind,
  isTerminal,
  jobIdOf,
  jobLogs,
  MillraceError,
  parseJobSubject,
  runOfVersion,
  type RowStanding,
} from "@millrace/protocol";
import { askRows } from "./ask-rows.ts";
import { cancelEvent } from "./cancel-event.ts";
import type { KnownMark } from "./cancel-marks.ts";
import type { ControlContext } from "./control-context.ts";
import { havePassed, lastPlaces, type LogPlaces } from "./log-places.ts";
import { publishEvents } from "./publish-events.ts";

type SweepContext = Omit<ControlContext, "cancelSweep">;

/** What a sweep has found out of one mark. */
interface Found {
  readonly revision: number;
  /** Its run has ended; on the clock of performance.now(). */
  endedMs?: number;
  /** The mark stays until no log holds a message at or before these. */
  keepFor?: LogPlaces;
  /** There was no row. A message of the job lies before these, if anywhere. */
  unknownBefore?: LogPlaces;
}

/** Marks that one sweep asks the rows for, and workers. */
const mostAsked = 1000;
/** Messages that one sweep looks at, singly. */
const mostLooks = 100;
const rowsWithinMs = 2000;
/** A worker that ends a job by itself has done so by then; asked in the process that set the mark, where the caller has gone. */
const ownAfterMs = 1000;

/**
 * Completes what cancelling began: control may have died between the mark and the event, a worker gives a marked job back without a
 * word, and for days no worker may come. And removes marks that no message is left for.
 */
export class CancelSweep implements AsyncDisposable {
  readonly #context: SweepContext;
  readonly #timer: NodeJS.Timeout;
  readonly #found = new Map<string, Found>();
  /** Marked by this process. */
  readonly #own = new Set<string>();
  #sweeping: Promise<void> | undefined;
  #closed = false;
  #nextId = "";
  #clearedMs = -Infinity;
  /** When the first of those was removed that the bucket still knows of as removed. */
  #removedMs = Infinity;

  constructor(context: SweepContext) {
    this.#context = context;
    this.#timer = setInterval(() => void this.sweep(), context.config.cancelSweepMs);
  }

  /** A worker has this job in hand: it is looked after soon. */
  follow(id: string): void {
    this.#own.add(id);
  }

  /** Never rejects; one at a time. */
  sweep(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return (this.#sweeping ??= this.#sweep()
      .catch((error: unknown) => {
        // The next sweep finds the same marks; they cost a few bytes until then.
        const level = error instanceof BusError || error instanceof MillraceError ? "debug" : "warn";
        this.#context.logger[level]({ err: error }, "cancel marks not swept");
      })
      .finally(() => {
        this.#sweeping = undefined;
      }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { cancelMarks, bus } = this.#context;
    for (const id of [...this.#own, ...this.#found.keys()]) if (!cancelMarks.jobs.has(id)) this.#forget(id);
    if (!bus.connected) return;
    if (cancelMarks.jobs.size > 0) {
      await this.#complete(this.#due());
      await this.#clear();
    }
    if (performance.now() - this.#removedMs > this.#context.config.markKeepMs) {
      this.#removedMs = Infinity;
      await cancelMarks.compact();
    }
  }

  /** Marks whose run is not known to have ended, and which are old enough: another part of them each time when there are many. */
  #due(): (KnownMark & { readonly id: string })[] {
    const { bus, cancelMarks, config } = this.#context;
    const nowMs = bus.clock.nowMs();
    const due: (KnownMark & { readonly id: string })[] = [];
    for (const [id, mark] of cancelMarks.jobs) {
      const found = this.#found.get(id);
      if (found?.revision === mark.revision && found.endedMs !== undefined) continue;
      if (nowMs - mark.atMs >= (this.#own.has(id) ? ownAfterMs : config.markPatienceMs)) due.push({ id, ...mark });
    }
    const from = due.findIndex(({ id }) => id === this.#nextId);
    const turned = from <= 0 ? due : [...due.slice(from), ...due.slice(0, from)];
    this.#nextId = turned[mostAsked]?.id ?? "";
    return turned.slice(0, mostAsked);
  }

  async #complete(due: readonly (KnownMark & { readonly id: string })[]): Promise<void> {
    if (due.length === 0) return;
    const { bus, workers } = this.#context;
    const rows = await askRows(bus, { ids: due.map(({ id }) => id), waitMs: rowsWithinMs });
    if (rows === undefined) return;
    const standing = new Map(rows.map((row) => [row.id, row]));
    const open: (typeof due)[number][] = [];
    let places: LogPlaces | undefined;
    for (const mark of due) {
      const row = standing.get(mark.id);
      const found = this.#foundOf(mark);
      if (row === undefined) found.unknownBefore ??= places ??= await lastPlaces(bus);
      else if (!isOver(row, mark.run)) open.push(mark);
      else {
        found.endedMs = performance.now();
        // Where the messages of a run lay that another has followed is not known any more.
        const replayed = runOfVersion(row.version) > mark.run;
        found.keepFor = replayed ? (places ??= await lastPlaces(bus)) : placeOf(row);
      }
    }
    if (open.length === 0) return;
    const held = await workers.holds(open.map(({ id }) => id));
    for (const mark of open) if (!held.has(mark.id)) await this.#end(mark);
  }

  async #end({ id, run, reason }: KnownMark & { readonly id: string }): Promise<void> {
    const { store, uniqueKeys, events } = this.#context;
    const stored = await store.getJob(id);
    if (stored === undefined || stored.run !== run || isTerminal(stored.job.state)) return;
    const event = cancelEvent(stored.job, run, EventKind.CANCELLED, reason);
    await publishEvents(this.#context, [event], cancelledMessageId(id, run));
    events.jobCancelled(id, true);
    if (stored.job.uniqueKey !== "") await uniqueKeys.release(stored.job.uniqueKey, { id, run });
  }

  async #clear(): Promise<void> {
    const { cancelMarks, store, bus, config } = this.#context;
    // Some stay for long, as that of the newest message of a log which nothing follows.
    if (performance.now() - this.#clearedMs < config.markKeepMs / 6) return;
    this.#clearedMs = performance.now();
    const cursors = await store.readCursors(config.projectionCursor);
    const readUpTo = new Map([...cursors].map(([log, { seq }]) => [log, seq]));
    const endedBefore = performance.now() - config.markKeepMs;
    const nowMs = bus.clock.nowMs();
    const marks: { id: string; run: number; found: Found }[] = [];
    for (const [id, found] of this.#found) {
      const { revision, endedMs, unknownBefore } = found;
      const mark = cancelMarks.jobs.get(id);
      if (mark?.revision !== revision || nowMs - mark.atMs < config.markKeepMs) continue;
      const isUnknown = unknownBefore !== undefined && havePassed(readUpTo, unknownBefore);
      if (endedMs === undefined ? !isUnknown : endedMs > endedBefore) continue;
      marks.push({ id, run: mark.run, found });
      if (marks.length === mostAsked) break;
    }
    if (marks.length === 0) return;
    // Asked after the cursors: there is no job that has no row.
    const rows = await askRows(bus, { ids: marks.map(({ id }) => id), waitMs: rowsWithinMs });
    if (rows === undefined) return;
    const standing = new Map(rows.map((row) => [row.id, row]));
    const firstSeqs = new Map<string, number>();
    for (const log of jobLogs) firstSeqs.set(log, (await bus.streamState(log)).firstSeq);
    let looks = mostLooks;
    for (const { id, run, found } of marks) {
      const row = standing.get(id);
      if (row !== undefined && !isOver(row, run)) {
        delete found.endedMs;
        delete found.unknownBefore;
        continue;
      }
      // It may have been published anew since: a scheduler had it in hand.
      if (row !== undefined && runOfVersion(row.version) === run) found.keepFor = placeOf(row);
      const left = Object.entries(found.keepFor ?? {}).filter(([log, seq]) => seq >= (firstSeqs.get(log) ?? 0));
      const [only] = left;
      if (left.length > 1 || (only !== undefined && (looks-- <= 0 || (await this.#lies(id, ...only))))) {
        // Behind the others, so that each has its turn.
        this.#found.delete(id);
        this.#found.set(id, found);
      } else await this.#remove(id, found.revision);
    }
  }

  /** Whether the job's message is there still. */
  async #lies(id: string, stream: string, seq: number): Promise<boolean> {
    const message = await this.#context.bus.messageAt(stream, seq);
    if (message === undefined) return false;
    const place = { stream, seq, timestampMs: message.timestampMs };
    return jobIdOf(parseJobSubject(message.subject)?.id, (name) => message.header(name), place) === id;
  }

  async #remove(id: string, revision: number): Promise<void> {
    await this.#context.cancelMarks.remove(id, revision);
    this.#forget(id);
    this.#removedMs = Math.min(this.#removedMs, performance.now());
  }

  #foundOf({ id, revision }: KnownMark & { readonly id: string }): Found {
    const known = this.#found.get(id);
    if (known?.revision === revision) return known;
    const found: Found = { revision };
    this.#found.set(id, found);
    return found;
  }

  #forget(id: string): void {
    this.#found.delete(id);
    this.#own.delete(id);
  }
}

/** Told twice within the broker's window, by whomever, it is stored once. */
export function cancelledMessageId(id: string, run: number): string {
  return `${id}:${run}:cancelled`;
}

function placeOf({ stream, seq }: RowStanding): LogPlaces {
  return stream === "" ? {} : { [stream]: seq };
}

function isOver({ version, state }: RowStanding, run: number): boolean {
  const rowRun = runOfVersion(version);
  return rowRun > run || (rowRun === run && isTerminal(state));
}
