import type { Bus } from "@millrace/bus";
import {
  backoffDelayMs,
  eventsStream,
  jobStream,
  MillraceError,
  priorityNames,
  scheduleStream,
  type BackoffPolicy,
} from "@millrace/protocol";
import type { ProjectionCursor, Store } from "@millrace/store";
import { defaultProjectorConfig, type ProjectorConfig } from "./config.ts";
import { PatchWriter } from "./patch-writer.ts";
import { ProjectionSession } from "./projection-session.ts";
import { noProjectorMetrics, type ProjectorLogger, type ProjectorMetrics } from "./projector-signals.ts";
import { trimEvents } from "./trim-events.ts";
import { wait } from "./wait.ts";

export interface ProjectorDeps {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: ProjectorLogger;
  readonly metrics?: ProjectorMetrics;
}

export interface ProjectorStatus {
  /** Events reach the rows. */
  readonly ready: boolean;
  /** What is missing; empty when ready. */
  readonly reason: string;
  /** The last message of EVENTS that is in the rows; 0 before the first. */
  readonly projectedSeq: number;
  /** Messages that are stored in EVENTS and not in the rows, as far as is known here. */
  readonly lagMessages: number;
}

export interface Projector extends AsyncDisposable {
  status(): ProjectorStatus;
  /** Resolves when the rows hold everything up to this message of EVENTS; rejects when the projector is stopped first. */
  whenProjected(seq: number): Promise<void>;
}

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

/**
 * Builds the read model from EVENTS, in order and exactly once by its cursor. Starts at once, whatever is away: it waits for
 * the streams and for the database, and goes on where its cursor stands.
 */
export async function startProjector(config: Partial<ProjectorConfig>, deps: ProjectorDeps): Promise<Projector> {
  return new RunningProjector({ ...defaultProjectorConfig, ...config }, deps);
}

class RunningProjector implements Projector {
  readonly #config: ProjectorConfig;
  readonly #deps: ProjectorDeps;
  readonly #metrics: ProjectorMetrics;
  readonly #abort = new AbortController();
  readonly #ended: Promise<unknown>;
  readonly #waiters = new Set<{ readonly seq: number; readonly done: PromiseWithResolvers<void> }>();
  #session: ProjectionSession | undefined;
  #writer: PatchWriter | undefined;
  #reason = "starting";
  #projectedSeq = 0;

  constructor(config: ProjectorConfig, deps: ProjectorDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#metrics = deps.metrics ?? noProjectorMetrics;
    const trimming = { signal: this.#abort.signal, logger: deps.logger, projectedSeq: () => this.#projectedSeq };
    this.#ended = Promise.all([this.#run(), trimEvents(deps.bus, trimming)]);
  }

  status(): ProjectorStatus {
    const reason = this.#reason || (this.#writer?.trouble ?? "");
    return {
      ready: reason === "",
      reason,
      projectedSeq: this.#projectedSeq,
      lagMessages: this.#session?.lag ?? 0,
    };
  }

  whenProjected(seq: number): Promise<void> {
    if (seq <= this.#projectedSeq) return Promise.resolve();
    if (this.#abort.signal.aborted) return Promise.reject(stopped());
    const done = Promise.withResolvers<void>();
    this.#waiters.add({ seq, done });
    return done.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
    for (const { done } of this.#waiters) done.reject(stopped());
    this.#waiters.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { logger } = this.#deps;
    for (let failures = 0; !signal.aborted;) {
      const startedAt = performance.now();
      const wentWell = (): boolean => this.#reason === "" && performance.now() - startedAt > retry.maxMs;
      try {
        await this.#project();
        if (wentWell()) failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (wentWell()) failures = 0;
        this.#reason = error instanceof Error ? error.message : String(error);
        // Known troubles repeat while they last: the first of a row is worth a line.
        if (failures === 0) logger.warn({ err: error }, "projection interrupted");
      }
      this.#session = undefined;
      failures++;
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
  }

  /** From the cursor on, until something changes under our feet. */
  async #project(): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const { name, rowsPerWrite, bytesPerWrite } = this.#config;
    const { signal } = this.#abort;
    await store.migrate();
    await bus.whenConnected();
    const createdMs = await streamTimes(bus);
    const eventsCreatedMs = createdMs.get(eventsStream) ?? 0;
    const cursor = await store.readCursor(name);
    const { lastSeq } = await bus.streamState(eventsStream);
    const startSeq = this.#startSeq(cursor, eventsCreatedMs, lastSeq);
    const metrics = this.#metrics;
    this.#writer = new PatchWriter({ name, store, logger, metrics, signal }, cursor);
    this.#session = new ProjectionSession({
      bus,
      writer: this.#writer,
      logger,
      metrics,
      signal,
      source: `projector-${name}`,
      createdMs,
      eventsCreatedMs,
      startSeq,
      rowsPerWrite,
      bytesPerWrite,
      onWritten: (seq) => this.#advance(seq),
    });
    this.#projectedSeq = 0;
    this.#advance(startSeq - 1);
    this.#reason = "";
    logger.info({ startSeq }, "projecting");
    await this.#session.run();
  }

  #startSeq(cursor: ProjectionCursor | undefined, eventsCreatedMs: number, lastSeq: number): number {
    if (cursor === undefined) return 1;
    if (cursor.streamCreatedMs === eventsCreatedMs) {
      // A broker that was killed may have forgotten its last messages, and gives their numbers to new ones.
      if (cursor.seq > lastSeq)
        this.#deps.logger.warn({ cursor, lastSeq }, "EVENTS ends before the cursor: going back");
      return Math.min(cursor.seq, lastSeq) + 1;
    }
    this.#deps.logger.warn({ cursor, eventsCreatedMs }, "EVENTS was made anew: reading from its start");
    return 1;
  }

  #advance(seq: number): void {
    this.#projectedSeq = seq;
    for (const waiter of this.#waiters) {
      if (waiter.seq > seq) continue;
      this.#waiters.delete(waiter);
      waiter.done.resolve();
    }
  }
}

/** When each stream was made. @throws BusError not_found while one is not there yet: its jobs could not be told apart */
async function streamTimes(bus: Bus): Promise<Map<string, number>> {
  const names = [eventsStream, scheduleStream, ...priorityNames.map(jobStream)];
  return new Map(await Promise.all(names.map(async (name) => [name, await bus.streamCreatedMs(name)] as const)));
}

function stopped(): MillraceError {
  return new MillraceError("canceled", "the projector was stopped");
}
