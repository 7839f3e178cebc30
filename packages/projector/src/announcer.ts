import { isSameStream, BusError, type Bus, type PipelinedPublisher, type StreamState } from "@millrace/bus";
import {
  announcementSubject,
  backoffDelayMs,
  EventEncoder,
  EventKind,
  eventsStream,
  headerNames,
  scheduleStream,
  type BackoffPolicy,
  type EventFields,
} from "@millrace/protocol";
import type { ReadJob } from "./patch-from-job.ts";
import type { ProjectorLogger } from "./projector-signals.ts";
import { wait } from "./wait.ts";

/** Up to where a log was announced: `<when the log was made, Unix ms>:<first>:<last>`, on every announcement. */
const reachHeader = "Millrace-Announced";
const expectedHeader = "Nats-Expected-Last-Subject-Sequence";
/** A batch leaves with so many events at the most. */
const mostEvents = 1000;
const deliveryTimeoutMs = 5000;
/** Of one log: who adds more waits. */
const mostPending = 5000;
const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

/** When a log was made, Unix ms, and on how many servers it is. */
type Made = Pick<StreamState, "createdMs" | "replicas">;

/** One log's announcements, in order and one message at a time. */
interface Line {
  readonly log: string;
  readonly made: Made;
  /** Everything up to here was announced. */
  announcedSeq: number;
  /** The announcement that says so, in EVENTS; 0 before the first. */
  lastSeq: number;
  /** Taken in up to here, announced or not. */
  seenSeq: number;
  pending: { readonly seq: number; readonly event: EventFields | undefined }[];
  sending: Promise<void> | undefined;
  room: PromiseWithResolvers<void>;
}

export interface AnnouncerOptions {
  readonly bus: Bus;
  readonly source: string;
  readonly logger: ProjectorLogger;
  readonly signal: AbortSignal;
}

/**
 * Tells EVENTS what came in by each log: watchers and plugins hear of every job, also while the database is away.
 *
 * How far a log was announced is a header of the announcement itself, which is stored on the condition that the one before is still
 * the last of its subject. So nothing is told twice or left out, whenever the projector dies and whoever takes over. What a broker
 * forgot is told again; readers drop doubles.
 */
export class Announcer implements AsyncDisposable {
  readonly #options: AnnouncerOptions;
  readonly #publisher: PipelinedPublisher;
  readonly #lines = new Map<string, Line>();
  #trouble: string | undefined;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    // A stop does not wait long for a broker that is away: what was not told is told by the next leader.
    this.#publisher = options.bus.publisher({ deliveryTimeoutMs });
  }

  /** Why nothing is announced at this moment; undefined when all is well. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /**
   * Finds how far a log was announced. @param knownSeq as the rows have it, for a log whose announcements have left EVENTS
   * @returns the sequence after which to go on
   */
  async attach(log: string, made: Made, knownSeq: number): Promise<number> {
    const found = await this.#lastAnnouncement(log, made);
    const announcedSeq = Math.max(found.announcedSeq, knownSeq);
    this.#lines.set(log, {
      log,
      made,
      announcedSeq,
      lastSeq: found.lastSeq,
      seenSeq: announcedSeq,
      pending: [],
      sending: undefined,
      room: Promise.withResolvers(),
    });
    return announcedSeq;
  }

  /** Up to where each log was announced. */
  get announced(): ReadonlyMap<string, number> {
    return new Map([...this.#lines.values()].map(({ log, announcedSeq }) => [log, announcedSeq]));
  }

  /** Messages that were taken in and are not announced yet. */
  get lag(): number {
    return [...this.#lines.values()].reduce((sum, { pending }) => sum + pending.length, 0);
  }

  /** Takes one message of a log in; what was seen before is passed over. */
  add(log: string, seq: number, job: ReadJob): void {
    const line = this.#lines.get(log);
    if (line === undefined || seq <= line.seenSeq) return;
    line.seenSeq = seq;
    line.pending.push({ seq, event: eventOf(log, job) });
  }

  /** Announces what was added. Resolves when there is room for more. */
  async flush(log: string): Promise<void> {
    const line = this.#lines.get(log);
    if (line === undefined) return;
    if (line.pending.length > 0) {
      line.sending ??= this.#sendAll(line).finally(() => {
        line.sending = undefined;
      });
    }
    while (line.pending.length >= mostPending && !this.#options.signal.aborted) await line.room.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const line of this.#lines.values()) line.room.resolve();
    await Promise.all([...this.#lines.values()].map(({ sending }) => sending));
    await this.#publisher[Symbol.asyncDispose]();
  }

  /** Never rejects. */
  async #sendAll(line: Line): Promise<void> {
    const { signal, logger } = this.#options;
    for (let failures = 0; line.pending.length > 0 && !signal.aborted;) {
      const taken = line.pending.slice(0, mostEvents);
      try {
        await this.#send(line, taken);
        failures = 0;
        this.#trouble = undefined;
      } catch (error) {
        const fenced = error instanceof BusError && error.code === "aborted";
        if (!fenced) {
          this.#trouble = error instanceof Error ? error.message : String(error);
          if (failures === 0)
            logger.warn({ err: error, log: line.log }, "jobs cannot be announced: they wait in their log");
        }
        failures++;
        // Behind an answer that was lost, or a leader that came back late.
        if (fenced) await this.#catchUp(line);
        await wait(fenced && failures === 1 ? 0 : backoffDelayMs(retry, failures, Math.random()), signal);
        continue;
      }
      line.room.resolve();
      line.room = Promise.withResolvers();
    }
    line.room.resolve();
    line.room = Promise.withResolvers();
  }

  async #send(line: Line, taken: Line["pending"]): Promise<void> {
    const { source } = this.#options;
    const first = line.announcedSeq + 1;
    const last = taken.at(-1)?.seq ?? line.announcedSeq;
    const batch = new EventEncoder(source);
    for (const { event } of taken) if (event !== undefined) batch.add(event);
    if (batch.count > 0) {
      const ack = await this.#publisher.publish({
        subject: announcementSubject(line.log),
        data: batch.take(),
        headers: [
          [headerNames.messageId, `${line.log}:${line.made.createdMs.toString(36)}:${first}:${last}`],
          [expectedHeader, String(line.lastSeq)],
          [reachHeader, `${line.made.createdMs}:${first}:${last}`],
        ],
      });
      line.lastSeq = ack.seq;
    }
    line.announcedSeq = last;
    line.pending.splice(0, taken.length);
  }

  async #catchUp(line: Line): Promise<void> {
    try {
      const { announcedSeq, lastSeq } = await this.#lastAnnouncement(line.log, line.made);
      line.lastSeq = lastSeq;
      if (announcedSeq <= line.announcedSeq) return;
      line.announcedSeq = announcedSeq;
      line.pending = line.pending.filter(({ seq }) => seq > announcedSeq);
    } catch (error) {
      this.#options.logger.debug({ err: error, log: line.log }, "how far a log was announced cannot be read");
    }
  }

  async #lastAnnouncement(log: string, made: Made): Promise<{ announcedSeq: number; lastSeq: number }> {
    const last = await this.#options.bus.lastMessage(eventsStream, announcementSubject(log));
    if (last === undefined) return { announcedSeq: 0, lastSeq: 0 };
    const [madeMs = 0, , announcedSeq] = (last.header(reachHeader) ?? "").split(":").map(Number);
    // Of a stream that was made anew nothing was announced yet.
    return { announcedSeq: isSameStream(made, madeMs) ? (announcedSeq ?? 0) : 0, lastSeq: last.seq };
  }
}

/** Undefined for what is not the first message of an attempt, but for one that waits for its time. */
function eventOf(log: string, { patch, run, move }: ReadJob): EventFields | undefined {
  const kind = log === scheduleStream ? EventKind.SCHEDULED : EventKind.SUBMITTED;
  if (kind === EventKind.SUBMITTED && move > 0) return undefined;
  return {
    jobId: patch.id,
    kind,
    run,
    attempt: patch.attempt,
    move,
    queue: patch.queue,
    type: patch.type,
    priority: patch.priority,
    atMs: patch.submittedAtMs,
    submittedAtMs: patch.submittedAtMs,
    nextRunAtMs: patch.dueAtMs,
    maxAttempts: patch.maxAttempts,
    traceparent: patch.traceparent,
    owner: patch.submission?.owner ?? "",
    correlationId: patch.submission?.correlationId ?? "",
  };
}
