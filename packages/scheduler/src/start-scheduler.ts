import { randomUUID } from "node:crypto";
import { LeaderLease, type Bus, type BusMessage } from "@millrace/bus";
import { backoffDelayMs, headerNames, parseJobOptions, subjectRoots, type BackoffPolicy } from "@millrace/protocol";
import { stopInTime } from "@millrace/service-kit";
import type { Store } from "@millrace/store";
import { defaultSchedulerConfig, type SchedulerConfig } from "./config.ts";

import { NextLook } from "./next-look.ts";
import { PluginDesk } from "./plugin-desk.ts";
import { deliveryTimeoutMs, publishDue } from "./publish-due.ts";
import { noSchedulerMetrics, type SchedulerLogger, type SchedulerMetrics } from "./scheduler-signals.ts";
import { wait } from "./wait.ts";

export interface SchedulerDeps {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: SchedulerLogger;
  /** What is left out is not counted. */
  readonly metrics?: Partial<SchedulerMetrics>;
}

export interface SchedulerStatus {
  readonly ready: boolean;
  /** What is missing; empty when ready. */
  readonly reason: string;
}

/** Stops within 5 s, whatever the broker or the database does. */
export interface Scheduler extends AsyncDisposable {
  status(): SchedulerStatus;
}

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };
/** Some job was not published: its log is full, or away. */
const failurePauseMs = 1_000;
/** What is due is in another scheduler's hands at this moment. */
const takenPauseMs = 20;

/**
 * Publishes jobs that wait for their time when it has come, from their rows; runs what plugins run by time and by event. Several
 * may run at one time: they share the rows by claims, and one of them leads for the plugins. Starts at once, whatever is away.
 */
export async function startScheduler(config: Partial<SchedulerConfig>, deps: SchedulerDeps): Promise<Scheduler> {
  return new RunningScheduler({ ...defaultSchedulerConfig, ...config }, deps);
}

class RunningScheduler implements Scheduler {
  readonly #config: SchedulerConfig;
  readonly #deps: SchedulerDeps;
  readonly #metrics: SchedulerMetrics;
  readonly #abort = new AbortController();
  readonly #reasons = new Map<string, string>();
  readonly #ended: Promise<unknown>;

  constructor(config: SchedulerConfig, deps: SchedulerDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#metrics = { ...noSchedulerMetrics, ...deps.metrics };
    const migrate = (): Promise<void> => deps.store.migrate();
    this.#ended = Promise.all([
      this.#keepRunning("publishing", migrate, () => this.#publish()),
      // No event waits for the database.
      this.#keepRunning("plugins", undefined, () => this.#lead()),
    ]);
  }

  status(): SchedulerStatus {
    const reason = [...this.#reasons.values()].join("; ");
    return { ready: reason === "", reason };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await stopInTime("scheduler", this.#ended, this.#deps.logger);
  }

  /** Begins `work` again, after a pause, for as long as something is away. */
  async #keepRunning(
    name: string,
    prepare: (() => Promise<void>) | undefined,
    work: () => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#abort;
    const { bus, logger } = this.#deps;
    this.#reasons.set(name, "starting");
    for (let failures = 0; !signal.aborted;) {
      const startedAt = performance.now();
      const wentWell = (): boolean => !this.#reasons.has(name) && performance.now() - startedAt > retry.maxMs;
      try {
        await Promise.race([bus.whenConnected(), aborted(signal)]);
        if (signal.aborted) return;
        await prepare?.();
        this.#reasons.delete(name);
        await work();
        if (wentWell()) failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (wentWell()) failures = 0;
        this.#reasons.set(name, error instanceof Error ? error.message : String(error));
        // Known troubles repeat while they last: the first of a row is worth a line.
        if (failures === 0) logger.warn({ err: error, work: name }, "scheduler interrupted");
      }
      failures++;
      await wait(backoffDelayMs(retry, failures, Math.random()), signal);
    }
  }

  /** Until the lease is lost, or the end. */
  async #lead(): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const { signal } = this.#abort;
    await using lease = await LeaderLease.acquire(bus, "plugins", randomUUID(), signal);
    if (lease === undefined) return;
    await using desk = new PluginDesk({ bus, store, logger, metrics: this.#metrics });
    void desk;
    await aborted(AbortSignal.any([signal, lease.over]));
    if (!signal.aborted) logger.warn({}, "another scheduler leads for the plugins");
  }

  async #publish(): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const { signal } = this.#abort;
    const metrics = this.#metrics;
    const next = new NextLook(this.#config.recheckMs);
    using _ear = bus.subscribe(`${subjectRoots.schedule}.>`, {}, (message) => next.heard(dueMsOf(message)));
    await using publisher = bus.publisher({ deliveryTimeoutMs });
    while (!signal.aborted) {
      next.begin();
      if (!bus.connected) await Promise.race([bus.whenConnected(), aborted(signal)]);
      const { delayMs, nowMs } = await store.nextDue();
      next.plan(delayMs, nowMs);
      if (delayMs !== 0) {
        await next.wait(signal);
        continue;
      }
      const { claimed, failed } = await publishDue({ publisher, store, logger, metrics });
      if (failed > 0) await wait(failurePauseMs, signal);
      else if (claimed === 0) await wait(takenPauseMs, signal);
    }
  }
}

/** When a job that waits for its time is due, Unix ms; 0: at once. What cannot be read is the projector's to refuse. */
function dueMsOf(message: BusMessage): number {
  const parsed = parseJobOptions((name) => (name === headerNames.runAt ? message.header(name) : undefined));
  return parsed.ok ? parsed.options.runAtMs : 0;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}
