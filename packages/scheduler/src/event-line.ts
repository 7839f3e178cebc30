import { toJsonString } from "@bufbuild/protobuf";
import { BusError, type Bus, type Delivery } from "@millrace/bus";
import {
  isTaggableExport,
  backoffDelayMs,
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
import type { JobEndings } from "./job-endings.ts";
import { jobEventNames, platformEvents, type EventOffer } from "./platform-events.ts";
import { eventJobId, submitPluginJob } from "./plugin-job.ts";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";
import { wait } from "./wait.ts";

/** Messages in hand; twice as many are read ahead, and then reading waits. */
const batch = 32;
const batchBytes = 4 << 20;
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
 * have ended.
 */
export class EventLine implements AsyncDisposable {
  readonly #plugin: string;
  readonly #handlers: readonly PluginEventHandler[];
  readonly #deps: EventLineDeps;
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  readonly #createdMs = new Map<string, number>();
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
    const { bus, logger } = this.#deps;
    const { signal } = this.#abort;
    const cursor = await EventCursor.open(bus, this.#plugin);
    this.#resuming = true;
    let reset = false;
    await using reader = bus.readStream({
      stream: eventsStream,
      ...(this.#wantsJobs() ? {} : { filter: `${subjectRoots.platformEvents}.>` }),
      start: { seq: cursor.fromSeq },
      batch,
      maxBytes: batchBytes,
      onBatch: async (messages) => {
        for (const message of messages) {
          // The stream ends before the cursor: where to go on is for the cursor to say.
          if (reset) throw new BusError("aborted", "the event stream is not the one that was read");
          if (signal.aborted) return;
          await this.#deliverMessage(message, cursor);
        }
        await cursor.save();
      },
      onReset: () => (reset = true),
      onGap: (fromSeq, toSeq) =>
        logger.warn({ plugin: this.#plugin, fromSeq, toSeq }, "messages had left the stream before they were read"),
    });
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve(), { once: true });
    await Promise.race([reader.done, aborted]);
    // Best effort: what is not written is found to be done.
    await cursor.save().catch(() => undefined);
  }

  async #deliverMessage(message: Delivery, cursor: EventCursor): Promise<void> {
    const { seq } = message;
    for (const offer of await this.#offers(message)) {
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

  async #offers(message: Delivery): Promise<EventOffer[]> {
    try {
      return await platformEvents(message, (stream) => this.#streamCreatedMs(stream));
    } catch (error) {
      if (error instanceof BusError) throw error;
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
    // A publisher chooses the ids of its own events, and may publish one again.
    const maybeDone = this.#resuming || !event.name.startsWith("job.");
    this.#resuming = false;
    const known = maybeDone ? await endings.look(id) : undefined;
    if (known === "ended") return;
    using ending = endings.expect(id);
    // Somebody who is gone has submitted it, and got the worker's word.
    if (known === "alive") return ending.ended(signal, { lookAtOnce: true });
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
  }

  #wantsJobs(): boolean {
    return this.#handlers.some(({ pattern }) => jobEventNames.some((name) => matchesEvent(pattern, name)));
  }

  async #streamCreatedMs(stream: string): Promise<number> {
    const known = this.#createdMs.get(stream);
    if (known !== undefined) return known;
    const createdMs = await this.#deps.bus.streamCreatedMs(stream);
    this.#createdMs.set(stream, createdMs);
    return createdMs;
  }
}
