import { randomUUID } from "node:crypto";
import { BusError, LeaderLease, type Bus } from "@millrace/bus";
import {
  backoffDelayMs,
  decodeJson,
  eventsStream,
  MillraceError,
  repairSubject,
  type BackoffPolicy,
  type RepairAnswer,
  type RepairQuestion,
} from "@millrace/protocol";
import { stopInTime } from "@millrace/service-kit";
import type { StoredCursor, Store } from "@millrace/store";
import { Announcer } from "./announcer.ts";
import { answerRows } from "./answer-rows.ts";
import { attachLogs } from "./attach-logs.ts";
import type { LogPositions } from "./coalescer.ts";
import { defaultProjectorConfig, type ProjectorConfig } from "./config.ts";
import { PatchWriter } from "./patch-writer.ts";
import { ProjectionSession } from "./projection-session.ts";
import { noProjectorMetrics, type ProjectorLogger, type ProjectorMetrics } from "./projector-signals.ts";
import type { LogHold } from "./trim-logs.ts";
import { Upkeep } from "./upkeep.ts";
import { wait } from "./wait.ts";

export interface ProjectorDeps {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: ProjectorLogger;
  readonly metrics?: ProjectorMetrics;
}

export interface ProjectorStatus {
  /** Messages reach the rows; or another projector of this name sees to it, and this one stands by. */
  readonly ready: boolean;
  /** What is missing; empty when ready. */
  readonly reason: string;
  readonly role: "leading" | "standing by";
  /** What a person should look at, though all that can be done is done; empty when nothing is. */
  readonly notice: string;
  /** The last message of EVENTS that is in the rows; 0 before the first. */
  readonly projectedSeq: number;
  /** Messages that are stored in the logs and not in the rows, as far as is known here. */
  readonly lagMessages: number;
  /** What keeps each log from being trimmed further. */
  readonly holds: readonly LogHold[];
}

/** Stops within 5 s, whatever the broker or the database does. */
export interface Projector extends AsyncDisposable {
  status(): ProjectorStatus;
  /** Resolves when the rows hold each of these logs up to its sequence; rejects when the projector is stopped first. */
  whenProjected(seqs: ReadonlyMap<string, number>): Promise<void>;
}

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };
/** Who has no turn by then stands by, and is well. */
const standByMs = 2000;
const encoder = new TextEncoder();

/**
 * Builds the read model from EVENTS and the logs of jobs, exactly once by its cursors, announces what comes in, and looks after the
 * logs. Starts at once, whatever is away: it waits for the streams, and for its turn if another projector of its name leads; while the
 * database is away it goes on announcing.
 */
export async function startProjector(config: Partial<ProjectorConfig>, deps: ProjectorDeps): Promise<Projector> {
  return new RunningProjector({ ...defaultProjectorConfig, ...config }, deps);
}

class RunningProjector implements Projector {
  readonly #config: ProjectorConfig;
  readonly #deps: ProjectorDeps;
  readonly #metrics: ProjectorMetrics;
  readonly #source: string;
  readonly #abort = new AbortController();
  readonly #ended: Promise<unknown>;
  readonly #waiters = new Set<{
    readonly seqs: ReadonlyMap<string, number>;
    readonly done: PromiseWithResolvers<void>;
  }>();
  readonly #written = new Map<string, number>();
  #session: ProjectionSession | undefined;
  #writer: PatchWriter | undefined;
  #upkeep: Upkeep | undefined;
  #announcer: Announcer | undefined;
  #isLeading = false;
  #reason = "starting";

  constructor(config: ProjectorConfig, deps: ProjectorDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#metrics = deps.metrics ?? noProjectorMetrics;
    this.#source = `projector-${config.name}`;
    this.#ended = this.#run();
  }

  status(): ProjectorStatus {
    const reason = this.#reason || (this.#writer?.trouble ?? "") || (this.#announcer?.trouble ?? "");
    return {
      ready: reason === "",
      reason,
      role: this.#isLeading ? "leading" : "standing by",
      notice: this.#upkeep?.obstacle ?? "",
      projectedSeq: this.#written.get(eventsStream) ?? 0,
      lagMessages: this.#session?.lag ?? 0,
      holds: this.#upkeep?.holds ?? [],
    };
  }

  whenProjected(seqs: ReadonlyMap<string, number>): Promise<void> {
    if (this.#hasWritten(seqs)) return Promise.resolve();
    if (this.#abort.signal.aborted) return Promise.reject(stopped());
    const done = Promise.withResolvers<void>();
    this.#waiters.add({ seqs, done });
    return done.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    // First: what ends here may wait for one of them.
    for (const { done } of this.#waiters) done.reject(stopped());
    this.#waiters.clear();
    await stopInTime("projector", this.#ended, this.#deps.logger);
  }

  /** In turns with other projectors of this name. */
  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { bus, logger } = this.#deps;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await Promise.race([bus.whenConnected(), wait(2 ** 30, signal)]);
        await using lease = await this.#turn(signal);
        if (lease === undefined) return;
        failures = 0;
        this.#isLeading = true;
        this.#reason = "starting";
        await this.#lead(AbortSignal.any([signal, lease.over]));
        if (!signal.aborted) logger.warn({}, "this projector has lost its turn, and stands by");
      } catch (error) {
        if (signal.aborted) return;
        this.#reason = wordsOf(error);
        if (failures === 0) logger.warn({ err: error }, "no turn to project yet");
      } finally {
        // What was wrong with a turn that is over says nothing of this projector.
        this.#isLeading = false;
        this.#writer = undefined;
        this.#announcer = undefined;
      }
      await wait(backoffDelayMs(retry, failures + 1, Math.random()), signal);
    }
  }

  async #turn(signal: AbortSignal): Promise<LeaderLease | undefined> {
    const { bus, logger } = this.#deps;
    const waiting = setTimeout(() => {
      this.#reason = "";
      logger.info({}, "another projector leads: standing by");
    }, standByMs);
    try {
      return await LeaderLease.acquire(bus, `projector.${this.#config.name}`, randomUUID(), signal);
    } finally {
      clearTimeout(waiting);
    }
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { bus, store, logger } = this.#deps;
    for (let failures = 0; !signal.aborted;) {
      const startedAt = performance.now();
      const wentWell = (): boolean => this.#reason === "" && performance.now() - startedAt > retry.maxMs;
      try {
        await bus.whenConnected();
        await this.#ensureStreams();
        await store.migrate();
        await this.#project(await store.readCursors(this.#config.name), signal);
        if (wentWell()) failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (wentWell()) failures = 0;
        this.#reason = wordsOf(error);
        // Known troubles repeat while they last: the first of a row is worth a line.
        if (failures === 0) logger.warn({ err: error }, "projection interrupted");
        const isAway = error instanceof MillraceError && !(error instanceof BusError) && error.code === "unavailable";
        if (isAway) await this.#announceUntilBack(signal);
      }
      failures++;
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
  }

  /** A broker whose disk was lost has none of them, and services that started before it did do not make them again. */
  async #ensureStreams(): Promise<void> {
    const { bus } = this.#deps;
    try {
      await bus.streamState(eventsStream);
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== "not_found") throw error;
      await bus.ensureTopology();
    }
  }

  /** From the cursors on, until something changes under our feet. */
  async #project(cursors: ReadonlyMap<string, StoredCursor>, signal: AbortSignal): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const { name, rowsPerWrite, bytesPerWrite } = this.#config;
    const metrics = this.#metrics;
    const over = new AbortController();
    const sessionSignal = AbortSignal.any([signal, over.signal]);
    await using announcer = this.#newAnnouncer(sessionSignal);
    const attached = await attachLogs(bus, cursors, announcer, logger);
    const { logs } = attached;
    const writer = new PatchWriter({ name, store, logger, metrics, signal: sessionSignal }, cursors);
    this.#writer = writer;
    this.#written.clear();
    this.#advance(new Map([...logs].map(([log, { cursor }]) => [log, cursor])));
    const whenProjected = (seqs: ReadonlyMap<string, number>): Promise<void> => this.whenProjected(seqs);
    const source = this.#source;
    const config = this.#config;
    await using upkeep = new Upkeep({
      bus,
      store,
      announcer,
      attached,
      config,
      logger,
      metrics,
      source,
      whenProjected,
    });
    await using _answering = answerRows({ bus, store, logger, whenProjected });
    using _repairing = this.#answerRepairs(upkeep);
    const session = new ProjectionSession({
      bus,
      announcer,
      writer,
      logger,
      metrics,
      signal: sessionSignal,
      source,
      logs,
      rowsPerWrite,
      bytesPerWrite,
      onRead: (log, position) => upkeep.read(log, position),
      onWritten: (complete) => this.#advance(complete),
    });
    this.#session = session;
    this.#upkeep = upkeep;
    this.#reason = "";
    logger.info({ from: Object.fromEntries([...logs].map(([log, { cursor }]) => [log, cursor.seq])) }, "projecting");
    try {
      await session.run();
    } finally {
      over.abort();
      this.#session = undefined;
      this.#upkeep = undefined;
    }
  }

  /** While the database is away: nobody who watches jobs waits for it. */
  async #announceUntilBack(signal: AbortSignal): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const over = new AbortController();
    const untilBack = AbortSignal.any([signal, over.signal]);
    const looking = (async () => {
      for (let failures = 1; !untilBack.aborted; failures++) {
        await wait(backoffDelayMs(retry, failures, Math.random()), untilBack);
        const isBack = await store.ping().then(
          () => true,
          () => false,
        );
        if (isBack) over.abort();
      }
    })();
    try {
      await using announcer = this.#newAnnouncer(untilBack);
      const { logs } = await attachLogs(bus, new Map(), announcer, {
        ...logger,
        warn: () => undefined,
        error: () => undefined,
      });
      const { rowsPerWrite, bytesPerWrite } = this.#config;
      const session = new ProjectionSession({
        bus,
        announcer,
        writer: undefined,
        logger,
        metrics: this.#metrics,
        signal: untilBack,
        source: this.#source,
        logs,
        rowsPerWrite,
        bytesPerWrite,
        onRead: () => undefined,
        onWritten: () => undefined,
      });
      await session.run();
    } catch (error) {
      if (!untilBack.aborted) logger.warn({ err: error }, "jobs cannot be announced");
    }
    // A session that ended by a reconnect: the next turn begins anew, with or without the database.
    over.abort();
    await looking;
  }

  #newAnnouncer(signal: AbortSignal): Announcer {
    const { bus, logger } = this.#deps;
    this.#announcer = new Announcer({ bus, source: this.#source, logger, signal });
    return this.#announcer;
  }

  #answerRepairs(upkeep: Upkeep): Disposable {
    const { bus, logger } = this.#deps;
    return bus.subscribe(repairSubject, { queue: "projector" }, (message) => {
      const answer = (value: RepairAnswer): void => {
        if (message.reply !== "") bus.publish(message.reply, encoder.encode(JSON.stringify(value)));
      };
      const refuse = (error: unknown): void => {
        logger.warn({ err: error }, "a question for repairs cannot be answered");
        answer({ ok: false, reason: wordsOf(error), looked: 0, jobs: [], repaired: 0 });
      };
      try {
        const { dryRun = true } = decodeJson<RepairQuestion>(message.data);
        upkeep.repair({ dryRun }).then(answer, refuse);
      } catch (error) {
        refuse(error);
      }
    });
  }

  #advance(complete: LogPositions | ReadonlyMap<string, { readonly seq: number }>): void {
    for (const [log, { seq }] of complete) this.#written.set(log, seq);
    for (const waiter of this.#waiters) {
      if (!this.#hasWritten(waiter.seqs)) continue;
      this.#waiters.delete(waiter);
      waiter.done.resolve();
    }
  }

  #hasWritten(seqs: ReadonlyMap<string, number>): boolean {
    return [...seqs].every(([log, seq]) => seq <= (this.#written.get(log) ?? 0));
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stopped(): MillraceError {
  return new MillraceError("canceled", "the projector was stopped");
}
