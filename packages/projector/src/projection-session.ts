import type { Bus, Delivery } from "@millrace/bus";
import { backoffDelayMs, eventsStream, scheduleStream, type BackoffPolicy } from "@millrace/protocol";
import type { LogCursor } from "@millrace/store";
import type { Announcer } from "./announcer.ts";
import type { AttachedLog } from "./attach-logs.ts";
import { barDoubles } from "./bar-doubles.ts";
import { Coalescer, type LogPosition, type LogPositions } from "./coalescer.ts";
import { patchFromJob } from "./patch-from-job.ts";
import type { PatchWriter } from "./patch-writer.ts";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { publishRejections } from "./publish-rejections.ts";
import { readEvents, readJob } from "./read-message.ts";
import { wait } from "./wait.ts";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

/** More unread messages than this: jobs are better written once, late, than twice. About a second of a full load. */
const farBehindMessages = 10_000;
/** Events wait no longer for the logs of jobs to be read as far: they are true all the same, only written twice. */
const longestGateMs = 1000;
const eventBytes = 16 << 20;
/** One of each of five logs; the largest single message must fit. */
const logBytes = 8 << 20;

export interface ProjectionSessionOptions {
  readonly bus: Bus;
  readonly announcer: Announcer;
  /** None: only announce what comes in, as the database is away. */
  readonly writer: PatchWriter | undefined;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly signal: AbortSignal;
  /** Name under which events of the projector's own are published. */
  readonly source: string;
  readonly logs: ReadonlyMap<string, AttachedLog>;
  readonly rowsPerWrite: number;
  readonly bytesPerWrite: number;
  readonly onRead: (log: string, position: LogPosition) => void;
  readonly onWritten: (complete: LogPositions) => void;
}

/**
 * Reads EVENTS and the logs of jobs from one place each on, for as long as the streams and the cursors stay what they are. One
 * transaction is under way at a time; what comes in meanwhile is decoded and coalesced into the next one, so batches grow with the
 * load and a lone event is written at once. Far behind, jobs that only wait are held back for what becomes of them.
 */
export class ProjectionSession {
  readonly #options: ProjectionSessionOptions;
  readonly #failure = Promise.withResolvers<never>();
  readonly #over = new AbortController();
  #pending: Coalescer;
  #taken = Promise.withResolvers<void>();
  #draining: Promise<void> | undefined;
  #writing = false;
  readonly #unread = new Map<string, number>();
  /** Of the logs of jobs: up to when each was read, by the broker's time; Infinity: to its end. */
  readonly #readUntilMs = new Map<string, number>();
  #advanced = Promise.withResolvers<void>();
  #complete: LogPositions;

  constructor(options: ProjectionSessionOptions) {
    this.#options = options;
    this.#complete = new Map(
      [...options.logs].map(([log, { cursor }]) => [log, { seq: cursor.seq, atMs: cursor.atMs }]),
    );
    this.#pending = new Coalescer(this.#complete);
    this.#failure.promise.catch(() => undefined);
  }

  /** Messages that are not written yet. */
  get lag(): number {
    let lag = this.#unreadMessages;
    for (const [log, { seq }] of this.#pending.positions) lag += Math.max(0, seq - (this.#complete.get(log)?.seq ?? 0));
    return lag;
  }

  /** Resolves when told to stop, or when something changed under our feet; rejects with what cannot be helped here. */
  async run(): Promise<void> {
    const { bus, signal, logger, logs, writer } = this.#options;
    if (signal.aborted) return;
    const changed = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => changed.resolve(), { once: true });
    const { epoch } = bus.status;
    // After a reconnect it may be another broker, or one that has forgotten: where to go on is found anew.
    using _ = bus.onStatus((status) => {
      if (status.connected && status.epoch !== epoch) changed.resolve();
    });
    await using readers = new AsyncDisposableStack();
    const read = [...logs].filter(([log]) => writer !== undefined || log !== eventsStream);
    const done = read.map(([log, { cursor, announcedSeq }]) => {
      const fromSeq = writer === undefined ? announcedSeq : Math.min(cursor.seq, announcedSeq);
      if (log !== eventsStream) this.#readUntilMs.set(log, 0);
      const reader = readers.use(
        bus.readStream({
          stream: log,
          start: { seq: fromSeq + 1 },
          batch: 1000,
          maxBytes: log === eventsStream ? eventBytes : logBytes,
          onBatch: (messages) => (log === eventsStream ? this.#takeEvents(messages) : this.#takeJobs(log, messages)),
          onCaughtUp: () => this.#reach(log, Infinity),
          onGap: (from, to) => logger.error({ log, from, to }, "messages left their stream before they were read"),
          onReset: () => changed.resolve(),
        }),
      );
      return reader.done;
    });
    try {
      await Promise.race([...done, changed.promise, this.#failure.promise]);
    } finally {
      // A batch that waits for room, or for another log, must not keep its reader from ending.
      this.#over.abort();
      this.#failure.reject(new Error("the session is over"));
      this.#taken.resolve();
      this.#advanced.resolve();
      await this.#draining;
    }
  }

  async #takeJobs(log: string, messages: readonly Delivery[]): Promise<void> {
    const { announcer, logs, writer, onRead } = this.#options;
    const cursorSeq = writer === undefined ? Infinity : (logs.get(log)?.cursor.seq ?? 0);
    for (const message of messages) {
      const { seq, timestampMs: atMs } = message;
      const job =
        seq > cursorSeq ? readJob(message, log, this.#pending) : patchFromJob(message, log, log === scheduleStream);
      announcer.add(log, seq, job);
      this.#unread.set(log, message.pending);
      onRead(log, { seq, atMs });
      if (this.#isFull) await this.#room();
    }
    const last = messages.at(-1);
    if (last !== undefined) this.#reach(log, last.pending === 0 ? Infinity : last.timestampMs);
    this.#drain();
    await Promise.race([announcer.flush(log), this.#failure.promise]);
  }

  async #takeEvents(messages: readonly Delivery[]): Promise<void> {
    const { logger, metrics, onRead } = this.#options;
    for (const message of messages) {
      const { seq, timestampMs: atMs } = message;
      // An end whose submission was not read is a row without a payload, which is written again.
      await this.#gate(atMs);
      const problem = readEvents(message, eventsStream, this.#pending);
      if (problem !== undefined) {
        metrics.skipped();
        logger.error({ seq, subject: message.subject, problem }, "an event cannot be read: skipped");
      }
      this.#unread.set(eventsStream, message.pending);
      onRead(eventsStream, { seq, atMs });
      if (this.#isFull) await this.#room();
    }
    this.#drain();
  }

  #reach(log: string, untilMs: number): void {
    if (log === eventsStream) return;
    this.#readUntilMs.set(log, untilMs);
    this.#advanced.resolve();
    this.#advanced = Promise.withResolvers();
  }

  /** Resolves when the logs of jobs are read up to this time, or it takes too long. */
  async #gate(atMs: number): Promise<void> {
    const { announcer } = this.#options;
    // Logs that wait for room in EVENTS wait for this.
    const isReached = (): boolean =>
      announcer.trouble !== undefined || [...this.#readUntilMs.values()].every((untilMs) => untilMs >= atMs);
    if (isReached()) return;
    // What was read before is written meanwhile: the logs may wait for room.
    this.#drain();
    const late = AbortSignal.any([this.#over.signal, AbortSignal.timeout(longestGateMs)]);
    while (!isReached() && !late.aborted) await Promise.race([this.#advanced.promise, wait(longestGateMs, late)]);
  }

  get #isFull(): boolean {
    const { rowsPerWrite, bytesPerWrite } = this.#options;
    return this.#pending.size >= rowsPerWrite || this.#pending.bytes >= bytesPerWrite;
  }

  async #room(): Promise<void> {
    this.#drain();
    // Taken at once when no transaction is under way, else when the one under way has ended.
    if (this.#isFull && this.#pending.messages > 0) await Promise.race([this.#taken.promise, this.#failure.promise]);
  }

  get #unreadMessages(): number {
    let sum = 0;
    for (const messages of this.#unread.values()) sum += messages;
    return sum;
  }

  /** Far behind, the next messages are on their way, and a larger write costs less. */
  get #isWorthWriting(): boolean {
    const { messages, events, bytes } = this.#pending;
    const { rowsPerWrite, bytesPerWrite } = this.#options;
    return messages > 0 && (!this.#isFarBehind || events >= rowsPerWrite / 2 || bytes >= bytesPerWrite / 2);
  }

  get #isFarBehind(): boolean {
    return this.#unreadMessages > farBehindMessages;
  }

  #drain(): void {
    const { writer } = this.#options;
    if (this.#writing || writer === undefined) return;
    this.#draining = this.#writeAll(writer).catch((error: unknown) => this.#failure.reject(error));
  }

  async #writeAll(writer: PatchWriter): Promise<void> {
    this.#writing = true;
    while (this.#isWorthWriting) {
      const batch = this.#pending;
      const { patches, complete, next } = this.#isFarBehind ? batch.holdBack() : batch.whole();
      this.#pending = next;
      this.#taken.resolve();
      this.#taken = Promise.withResolvers();
      await this.#reject(batch);
      const { bus, announcer, logger, metrics, onWritten } = this.#options;
      if (batch.doubles.length > 0) await barDoubles(bus, batch.doubles, logger);
      const startedAt = performance.now();
      const { announced } = announcer;
      const doubles = await writer.write({ patches, to: this.#cursorsAt(complete), doubles: batch.doubles, announced });
      const found = doubles.filter((double) => !batch.doubles.includes(double));
      if (found.length > 0) await barDoubles(bus, found, logger);
      this.#complete = complete;
      onWritten(complete);
      metrics.written({
        events: batch.events,
        rows: patches.length,
        seconds: (performance.now() - startedAt) / 1000,
        lagMessages: this.lag,
        lagSeconds: Math.max(0, Date.now() - batch.firstAtMs) / 1000,
      });
    }
    // In the same turn as the last look at what is pending: what comes next finds nobody writing, and begins. After a
    // failure it stays set: this session writes no more.
    this.#writing = false;
  }

  /** Of the logs that the write moves on. */
  #cursorsAt(complete: LogPositions): Map<string, LogCursor> {
    const cursors = new Map<string, LogCursor>();
    for (const [log, { seq, atMs }] of complete) {
      const attached = this.#options.logs.get(log);
      if (attached === undefined) continue;
      cursors.set(log, { seq, atMs, streamCreatedMs: attached.createdMs });
    }
    return cursors;
  }

  async #reject(batch: Coalescer): Promise<void> {
    const { bus, source, signal, logger, metrics } = this.#options;
    if (batch.rejections.length === 0) return;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await publishRejections(bus, source, batch.rejections);
        break;
      } catch (error) {
        logger.warn({ err: error }, "jobs that can never run cannot be ended yet");
      }
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
    for (const { patch, reason } of batch.rejections) {
      metrics.rejected();
      logger.warn({ job: patch.id, queue: patch.queue, type: patch.type, reason }, "job rejected");
    }
  }
}
