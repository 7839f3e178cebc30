import { toJsonString } from "@bufbuild/protobuf";
import { BusError, type Bus, type Delivery } from "@millrace/bus";
import {
  isTaggableExport,
  backoffDelayMs,
  EventKind,
  eventName,
  eventsStream,
  matchesEvent,
  PlatformEventSchema,
  pluginQueues,
  subjectRoots,
  type BackoffPolicy,
  type PlatformEvent,
  type PluginEventHandler,
} from "@millrace/protocol";
import { EventCursor } from "./event-cursor.ts";
import { firstOffered, longestLagMs } from "./event-lag.ts";
import type { JobEndings } from "./job-endings.ts";
import { jobEventNames, platformEvents, type EventOffer } from "./platform-events.ts";
import { eventJobId, submitPluginJob } from "./plugin-job.ts";
import { RecentSet } from "./recent-set.ts";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";
import { wait } from "./wait.ts";

/** Messages in hand; twice as many are read ahead, and then reading waits. */
const batch = 32;
const batchBytes = 4 << 20;
/** Between two looks at how far the plugin is behind. */
const lagCheckMs = 60_000;
/** Deliveries that are known by heart: a projector that takes over announces again what was announced last. */
const mostRecent = 16_384;
/** As nothing is known by heart at first, so many announcements are looked up. */
const lookedUpAtFirst = 1_000;
const announced: ReadonlySet<string> = new Set(
  [EventKind.SUBMITTED, EventKind.SCHEDULED].map((kind) => `job.${eventName(kind)}`),
);
const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

export interface EventLineDeps {
  readonly bus: Bus;
  readonly endings: JobEndings;
  readonly logger: SchedulerLogger;
  readonly metrics: SchedulerMetrics;
}

/**
 * Delivers events to one plugin, in the order of EVENTS and one at a time: each is a job, and the next follows when it has
 * ended, in whatever way. At least once: after a crash the event in hand is delivered again, unless its job is known to
 * have ended. A plugin that is more than a day behind, or a quarter of what EVENTS may hold, misses what is older.
 */
export class EventLine implements AsyncDisposable {
  readonly #plugin: string;
  readonly #handlers: readonly PluginEventHandler[];
  readonly #deps: EventLineDeps;
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  readonly #delivered = new RecentSet(mostRecent);
  #lookedUp = 0;
  /** What comes before is passed over. */
  #fromSeq = 0;
  /** Messages that were passed over, or were gone, since the last that was offered. */
  #missed = 0;
  /** Up to the first delivery: the event in hand may have been delivered by somebody who is gone. */
  #resuming = true;

  constructor(plugin: string, handlers: readonly PluginEventHandler[], deps: EventLineDeps) {
    this.#plugin = plugin;
    this.#deps = deps;
    this.#handlers = handlers.filter((handler) => {
      const fine = isTaggableExport(handler.export);
      if (!fine) deps.logger.warn({ plugin, export: handler.export }, "an export of this name cannot hear of events");
      return fine;
    });
    this.#ended = this.#keepRunning();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #keepRunning(): Promise<void> {
    const { signal } = this.#abort;
    const { logger } = this.#deps;
    for (let failures = 0; !signal.aborted;) {
      const startedAtMs = performance.now();
      try {
        await this.#run();
      } catch (error) {
        if (signal.aborted) return;
        if (performance.now() - startedAtMs > retry.maxMs) failures = 0;
        if (failures === 0) logger.warn({ plugin: this.#plugin, err: error }, "delivery of events interrupted");
      }
      failures = performance.now() - startedAtMs > retry.maxMs ? 1 : failures + 1;
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
  }

  async #run(): Promise<void> {
    const { bus } = this.#deps;
    const { signal } = this.#abort;
    const cursor = await EventCursor.open(bus, this.#plugin);
    this.#resuming = true;
    this.#fromSeq = 0;
    const filtered = !this.#wantsJobs();
    const over = new AbortController();
    let reset = false;
    let seenSeq = cursor.fromSeq - 1;
    const lag = this.#watchLag(cursor, over.signal);
    try {
      await using reader = bus.readStream({
        stream: eventsStream,
        ...(filtered ? { filter: `${subjectRoots.platformEvents}.>` } : {}),
        start: { seq: cursor.fromSeq },
        batch,
        maxBytes: batchBytes,
        onBatch: async (messages) => {
          for (const message of messages) {
            // The stream ends before the cursor: where to go on is for the cursor to say.
            if (reset) throw new BusError("aborted", "the event stream is not the one that was read");
            if (signal.aborted) return;
            // Trimmed while it was read.
            if (!filtered && message.seq > seenSeq + 1) this.#miss(message.seq - seenSeq - 1);
            seenSeq = Math.max(seenSeq, message.seq);
            await this.#takeMessage(message, cursor);
          }
          await cursor.save();
        },
        onReset: () => (reset = true),
        onGap: (fromSeq, toSeq) => {
          this.#miss(toSeq - fromSeq + 1);
          seenSeq = Math.max(seenSeq, toSeq);
        },
        // All that was there when the cursor was opened has been heard: other messages must not seem to be in wait.
        onCaughtUp: () => void (reset ? undefined : cursor.advance(cursor.lastSeq).catch(() => undefined)),
      });
      const { promise: aborted, resolve } = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => resolve(), { once: true });
      // One that sees only some messages learns at its next beginning that it was not to see the others.
      const again = filtered ? [wait(lagCheckMs, over.signal)] : [];
      await Promise.race([reader.done, aborted, ...again]);
    } finally {
      over.abort();
      await lag;
    }
    // Best effort: what is not written is found to be done.
    await cursor.save().catch(() => undefined);
  }

  /** Moves the cursor on when it is too far behind, also while an event is in hand that does not end. */
  async #watchLag(cursor: EventCursor, signal: AbortSignal): Promise<void> {
    const { bus, logger } = this.#deps;
    for (; !signal.aborted; await wait(lagCheckMs, signal)) {
      try {
        const fromSeq = firstOffered(cursor.seq, await bus.streamState(eventsStream));
        if (fromSeq <= cursor.seq + 1) continue;
        logger.warn({ plugin: this.#plugin, fromSeq, behindSeq: cursor.seq }, "a plugin is too far behind: moved on");
        this.#fromSeq = fromSeq;
        await cursor.advance(fromSeq - 1);
      } catch (error) {
        // The broker is away: so is what would be read.
        logger.debug({ plugin: this.#plugin, err: error }, "how far a plugin is behind is not known");
      }
    }
  }

  async #takeMessage(message: Delivery, cursor: EventCursor): Promise<void> {
    if (message.seq < this.#fromSeq || message.timestampMs < Date.now() - longestLagMs) {
      this.#miss(1);
      return cursor.advance(message.seq);
    }
    if (this.#missed > 0) {
      const { logger } = this.#deps;
      logger.warn(
        { plugin: this.#plugin, count: this.#missed, upToSeq: message.seq - 1 },
        "events that a plugin missed",
      );
      this.#missed = 0;
    }
    await this.#deliverMessage(message, cursor);
  }

  #miss(count: number): void {
    this.#missed += count;
    this.#deps.metrics.missed(this.#plugin, count);
  }

  async #deliverMessage(message: Delivery, cursor: EventCursor): Promise<void> {
    const { seq } = message;
    for (const offer of this.#offers(message)) {
      if (cursor.isPast({ seq, index: offer.index })) continue;
      const wanting = this.#handlers.filter(({ pattern }) => matchesEvent(pattern, offer.name));
      if (wanting.length === 0) continue;
      const event = offer.make();
      for (const handler of wanting) {
        await this.#deliver(event, handler.export);
        if (this.#abort.signal.aborted) return;
      }
      await cursor.advance(seq, offer.index);
    }
    await cursor.advance(seq);
  }

  #offers(message: Delivery): EventOffer[] {
    try {
      return platformEvents(message);
    } catch (error) {
      // The projector is who makes a dead letter of it.
      this.#deps.logger.warn({ seq: message.seq, subject: message.subject, err: error }, "an event that is none");
      return [];
    }
  }

  async #deliver(event: PlatformEvent, exportName: string): Promise<void> {
    const { bus, endings, metrics } = this.#deps;
    const { signal } = this.#abort;
    const plugin = this.#plugin;
    const id = eventJobId(event, plugin, exportName);
    if (this.#delivered.has(id)) return;
    // A publisher chooses the ids of its own events, and may publish one again.
    const maybeDone = this.#resuming || !event.name.startsWith("job.") || this.#maybeAnnouncedAgain(event);
    this.#resuming = false;
    const known = maybeDone ? await endings.look(id) : undefined;
    if (known === "ended") return this.#delivered.add(id);
    using ending = endings.expect(id);
    // Somebody who is gone has submitted it, and got the worker's word.
    if (known === "alive") {
      await ending.ended(signal, { lookAtOnce: true });
      return this.#delivered.add(id);
    }
    const payload = toJsonString(PlatformEventSchema, event);
    const { duplicate } = await submitPluginJob(bus, {
      id,
      queue: pluginQueues.events,
      plugin,
      export: exportName,
      cause: `event:${event.name}`,
      payload,
      replyTo: ending.replyTo,
    });
    metrics.delivered();
    // Who submitted it first gets the worker's word.
    await ending.ended(signal, { lookAtOnce: duplicate });
    this.#delivered.add(id);
  }

  #maybeAnnouncedAgain(event: PlatformEvent): boolean {
    return announced.has(event.name) && this.#lookedUp++ < lookedUpAtFirst;
  }

  #wantsJobs(): boolean {
    return this.#handlers.some(({ pattern }) => jobEventNames.some((name) => matchesEvent(pattern, name)));
  }
}
