import { LiveWorkers, type Bus } from "@millrace/bus";
import { jobLogs, type RepairAnswer, type RepairQuestion } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { AgeMarks } from "./age-marks.ts";
import type { Announcer } from "./announcer.ts";
import { projectedLogs, type AttachedLogs } from "./attach-logs.ts";
import type { LogPosition } from "./coalescer.ts";
import type { ProjectorConfig } from "./config.ts";
import { endStubs } from "./end-stubs.ts";
import { lookForStranded, repairStranded, type Look, type ReconcileOptions } from "./reconcile.ts";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { relieveLog } from "./relieve-log.ts";
import { IdleConsumers } from "./idle-consumers.ts";
import { trimLogs, type LogHold } from "./trim-logs.ts";
import { wait } from "./wait.ts";

/** Jobs that a report names. */
const mostReported = 1000;
/** A question for repairs looks through so many batches at the most. */
const mostLooks = 200;

export interface UpkeepOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly announcer: Announcer;
  readonly attached: AttachedLogs;
  readonly config: ProjectorConfig;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly source: string;
  readonly whenProjected: (seqs: ReadonlyMap<string, number>) => Promise<void>;
}

/**
 * What the projector does beside projecting, for as long as one attachment to the streams lasts: trims the logs, publishes again what
 * nobody would deliver any more, and ends what can be read no more.
 */
export class Upkeep implements AsyncDisposable {
  readonly #options: UpkeepOptions;
  readonly #ages = new Map(projectedLogs.map((log) => [log, new AgeMarks()]));
  readonly #createdMs: ReadonlyMap<string, number>;
  readonly #over = new AbortController();
  readonly #workers: LiveWorkers;
  readonly #reconcile: ReconcileOptions;
  /** Logs whose places mean nothing any more: what lies before their first message is to run again. */
  readonly #anew: ReadonlySet<string>;
  readonly #compared = new Map<string, number>();
  readonly #deletedUpTo = new Map<string, number>();
  readonly #epoch: number;
  readonly #ended: Promise<unknown>;
  #holds: readonly LogHold[] = [];
  #purged = 0;

  constructor(options: UpkeepOptions) {
    const { bus, store, attached, config, logger, metrics, whenProjected } = options;
    this.#options = options;
    this.#createdMs = new Map([...attached.logs].map(([log, { createdMs }]) => [log, createdMs]));
    this.#anew = new Set([...attached.logs].flatMap(([log, { isAnew }]) => (isAnew ? [log] : [])));
    this.#epoch = bus.status.epoch;
    this.#workers = new LiveWorkers(bus);
    const { signal } = this.#over;
    const { leaseMs } = config;
    this.#reconcile = { bus, store, workers: this.#workers, logger, metrics, whenProjected, signal, leaseMs };
    for (const [log, { cursor }] of attached.logs) this.read(log, cursor);
    const idle = new IdleConsumers(bus, logger, config.consumerIdleMs);
    this.#ended = Promise.all([
      this.#every(config.trimEveryMs, "the logs cannot be trimmed", () => this.#trim()),
      this.#every(config.consumerIdleMs / 2, "idle consumers cannot be looked for", async () => {
        await idle.look();
      }),
      this.#every(config.reconcileEveryMs, "stranded jobs cannot be looked for", () => this.#look()),
    ]);
  }

  /** What holds each log, as of the last look. */
  get holds(): readonly LogHold[] {
    return this.#holds;
  }

  /** Why repairs do not run by themselves; empty when they do. */
  get obstacle(): string {
    const [gap] = this.#options.attached.gaps;
    if (gap !== undefined) {
      return `${gap.log} has lost ${gap.fromSeq} to ${gap.toSeq} before they were projected: jobs may have ended in them; see millrace repair`;
    }
    return this.#purged === 0
      ? ""
      : `${this.#purged} unfinished jobs were removed from their logs by somebody else; millrace repair publishes them again`;
  }

  /** A message of a log was read. */
  read(log: string, position: LogPosition): void {
    this.#ages.get(log)?.add(position);
  }

  /** Looks at everything, and does what can be done, or tells what would be. */
  async repair({ dryRun }: RepairQuestion): Promise<RepairAnswer> {
    const compared = new Map<string, number>();
    const found = new Map<string, Look["stranded"][number]>();
    let looked = 0;
    let leaseMs = 0;
    for (let looks = 0; looks < mostLooks && !this.#over.signal.aborted; looks++) {
      const look = await lookForStranded(this.#reconcile, { compared, belowFirst: new Set(jobLogs) });
      for (const one of look.stranded) found.set(one.job.id, one);
      looked += look.looked;
      leaseMs = look.leaseMs;
      // All of them have come to their ends.
      if ([...compared.values()].every((seq) => seq === 0)) break;
    }
    const stranded = [...found.values()];
    const repaired = dryRun ? [] : await repairStranded(this.#reconcile, stranded, leaseMs);
    if (!dryRun) this.#purged = 0;
    const jobs = (dryRun ? stranded : repaired).slice(0, mostReported);
    return {
      ok: true,
      reason: this.obstacle,
      looked,
      jobs: jobs.map(({ job: { id, stream, seq }, why }) => ({ id, stream, seq, why })),
      repaired: repaired.length,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#ended;
    await this.#workers[Symbol.asyncDispose]();
  }

  async #every(everyMs: number, trouble: string, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#over;
    const { logger, bus } = this.#options;
    for (let isFirst = true; !signal.aborted; await wait(everyMs, signal)) {
      // The first look soon: a start is when most is found.
      if (isFirst) await wait(Math.min(everyMs, 1000), signal);
      isFirst = false;
      if (signal.aborted || !bus.connected) continue;
      try {
        await Promise.race([work(), wait(2 ** 30, signal)]);
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, trouble);
      }
    }
  }

  async #trim(): Promise<void> {
    const { bus, store, announcer, config, logger, metrics, source } = this.#options;
    const { trimmed, holds } = await trimLogs({
      bus,
      store,
      name: config.name,
      logger,
      metrics,
      keepYoungMs: config.keepYoungMs,
      ages: this.#ages,
      announced: announcer.announced,
      createdMs: this.#createdMs,
      isAttached: () => bus.connected && bus.status.epoch === this.#epoch && !this.#over.signal.aborted,
    });
    this.#holds = holds;
    metrics.announcing(announcer.lag);
    for (const { log, purgedBelow } of trimmed)
      logger.info({ log, purgedBelow }, "trimmed what is projected and finished");
    const { moveAfterMs } = config;
    const relief = { bus, store, logger, metrics, moveAfterMs, deletedUpTo: this.#deletedUpTo };
    for (const hold of holds) await relieveLog(hold, relief);
    for (const id of await endStubs(bus, store, source, config.stubMs)) {
      logger.error({ job: id }, "a job's submission is in no log any more: ended as SUBMISSION_LOST");
    }
  }

  async #look(): Promise<void> {
    const { attached, logger } = this.#options;
    await this.#workers.ready;
    const look = await lookForStranded(this.#reconcile, { compared: this.#compared, belowFirst: this.#anew });
    if (look.purged.length !== this.#purged) {
      const jobs = look.purged.slice(0, 10).map(({ id }) => id);
      if (look.purged.length > 0) {
        logger.error(
          { count: look.purged.length, jobs },
          "unfinished jobs were removed from their logs by somebody else; millrace repair publishes them again",
        );
      }
      this.#purged = look.purged.length;
    }
    if (attached.gaps.length > 0) {
      const { length: count } = look.stranded;
      if (count > 0)
        logger.error(
          { count },
          "stranded jobs are left alone, as ends may be among messages that were never projected; see millrace repair",
        );
      return;
    }
    await repairStranded(this.#reconcile, look.stranded, look.leaseMs);
  }
}
