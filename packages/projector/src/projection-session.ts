import type { Bus, Delivery } from "@millrace/bus";
import { backoffDelayMs, type BackoffPolicy } from "@millrace/protocol";
import type { JobPatch } from "@millrace/store";
import { Coalescer } from "./coalescer.ts";
import type { PatchWriter } from "./patch-writer.ts";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { readMessage } from "./read-message.ts";
import { settleRejections } from "./settle-rejections.ts";
import { wait } from "./wait.ts";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

/** More unread messages than this: jobs are better written once, late, than twice. About a second of a full load. */
const farBehindMessages = 10_000;

export interface ProjectionSessionOptions {
  readonly bus: Bus;
  readonly writer: PatchWriter;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly signal: AbortSignal;
  /** Name under which events of the projector's own are published. */
  readonly source: string;
  /** Of EVENTS and the job streams, by name. */
  readonly createdMs: ReadonlyMap<string, number>;
  /** When EVENTS was made. */
  readonly eventsCreatedMs: number;
  readonly startSeq: number;
  readonly rowsPerWrite: number;
  readonly bytesPerWrite: number;
  readonly onWritten: (seq: number) => void;
}

/**
 * Reads EVENTS from one place on, for as long as the stream and the cursor stay what they are. One transaction is
 * under way at a time; what comes in meanwhile is decoded and coalesced into the next one, so batches grow with the load
 * and a lone event is written at once. Far behind, jobs that only wait are held back for what becomes of them.
 */
export class ProjectionSession {
  readonly #options: ProjectionSessionOptions;
  readonly #failure = Promise.withResolvers<never>();
  #pending: Coalescer;
  #taken = Promise.withResolvers<void>();
  #draining: Promise<void> | undefined;
  #writing = false;
  #unread = 0;
  #completeSeq: number;

  constructor(options: ProjectionSessionOptions) {
    this.#options = options;
    this.#completeSeq = options.startSeq - 1;
    this.#pending = new Coalescer(this.#completeSeq);
    this.#failure.promise.catch(() => undefined);
  }

  /** Messages that are not written yet. */
  get lag(): number {
    return this.#unread + this.#pending.lastSeq - this.#completeSeq;
  }

  /** Resolves when told to stop, or when the stream was made anew; rejects with what cannot be helped here. */
  async run(): Promise<void> {
    const { bus, signal, logger, startSeq } = this.#options;
    const reset = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => stopped.resolve(), { once: true });
    if (signal.aborted) return;
    await using reader = bus.readEvents({
      startSeq,
      batch: 1000,
      onBatch: (messages) => this.#take(messages),
      onGap: (from, to) => logger.error({ from, to }, "events left their stream before they were projected"),
      onReset: () => reset.resolve(),
    });
    try {
      await Promise.race([reader.done, reset.promise, stopped.promise, this.#failure.promise]);
    } finally {
      // A batch that waits for room must not keep the reader from ending.
      this.#failure.reject(new Error("the session is over"));
      this.#taken.resolve();
      await this.#draining;
    }
  }

  async #take(messages: readonly Delivery[]): Promise<void> {
    const { createdMs, rowsPerWrite, bytesPerWrite, logger, metrics } = this.#options;
    for (const message of messages) {
      const problem = readMessage(message, this.#pending, (stream) => createdMs.get(stream));
      if (problem !== undefined) {
        metrics.skipped();
        logger.error({ seq: message.seq, subject: message.subject, problem }, "an event cannot be read: skipped");
      }
      this.#unread = message.pending;
      if (this.#pending.size < rowsPerWrite && this.#pending.bytes < bytesPerWrite) continue;
      this.#drain();
      // Taken at once when no transaction is under way, else when the one under way has ended.
      if (this.#pending.messages > 0) await Promise.race([this.#taken.promise, this.#failure.promise]);
    }
    this.#drain();
  }

  /** Far behind, the next messages are on their way, and a larger write costs less. */
  get #isWorthWriting(): boolean {
    const { messages, events, bytes } = this.#pending;
    const { rowsPerWrite, bytesPerWrite } = this.#options;
    return messages > 0 && (!this.#isFarBehind || events >= rowsPerWrite / 2 || bytes >= bytesPerWrite / 2);
  }

  get #isFarBehind(): boolean {
    return this.#unread > farBehindMessages;
  }

  #drain(): void {
    if (this.#writing) return;
    this.#draining = this.#writeAll().catch((error: unknown) => this.#failure.reject(error));
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#isWorthWriting) {
      const batch = this.#pending;
      const { patches, completeSeq, next } = this.#isFarBehind
        ? batch.holdBack()
        : { patches: batch.patches(), completeSeq: batch.lastSeq, next: new Coalescer(batch.lastSeq) };
      this.#pending = next;
      this.#taken.resolve();
      this.#taken = Promise.withResolvers();
      await this.#write(batch, patches, completeSeq);
    }
    // In the same turn as the last look at what is pending: what comes next finds nobody writing, and begins. After a
    // failure it stays set: this session writes no more.
    this.#writing = false;
  }

  async #write(batch: Coalescer, patches: readonly JobPatch[], completeSeq: number): Promise<void> {
    const { writer, eventsCreatedMs, metrics, onWritten } = this.#options;
    await this.#reject(batch);
    const startedAt = performance.now();
    await writer.write(patches, { seq: completeSeq, streamCreatedMs: eventsCreatedMs });
    this.#completeSeq = completeSeq;
    onWritten(completeSeq);
    metrics.written({
      events: batch.events,
      rows: patches.length,
      seconds: (performance.now() - startedAt) / 1000,
      lagMessages: this.lag,
      lagSeconds: Math.max(0, Date.now() - batch.firstAtMs) / 1000,
    });
  }

  async #reject(batch: Coalescer): Promise<void> {
    const { bus, source, signal, logger, metrics } = this.#options;
    if (batch.rejections.length === 0) return;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await settleRejections(bus, source, batch.rejections);
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
