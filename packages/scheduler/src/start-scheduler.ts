import { randomUUID } from "node:crypto";
import { LeaderLease, type Bus } from "@millrace/bus";
import { backoffDelayMs, scheduleStream, type BackoffPolicy } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { defaultSchedulerConfig, type SchedulerConfig } from "./config.ts";

import { PluginDesk } from "./plugin-desk.ts";
import { claimLimit, deliveryTimeoutMs, publishDue } from "./publish-due.ts";
import { noSchedulerMetrics, type SchedulerLogger, type SchedulerMetrics } from "./scheduler-signals.ts";
import { takeSchedules } from "./take-schedules.ts";
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

export interface Scheduler extends AsyncDisposable {
  status(): SchedulerStatus;
}

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5000, jitter: 0.3 };

/**
 * Keeps delayed jobs and long retries in the database, and publishes each when its time has come; runs what plugins run by
 * time and by event. Several may run at one time: they share the messages by the stream's consumer, and the rows by
 * claims; one of them leads for the plugins. Starts at once, whatever is away.
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
  /** Ends the wait for the next due time. */
  #wake = Promise.withResolvers<void>();

  constructor(config: SchedulerConfig, deps: SchedulerDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#metrics = { ...noSchedulerMetrics, ...deps.metrics };
    const migrate = (): Promise<void> => deps.store.migrate();
    this.#ended = Promise.all([
      this.#keepRunning("taking", migrate, () => this.#take()),
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
    this.#wake.resolve();
    await this.#ended;
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

  async #take(): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const { signal } = this.#abort;
    const metrics = this.#metrics;
    await bus.ensureSchedulerConsumer({ ackWaitMs: this.#config.ackWaitMs });
    const streamCreatedMs = await bus.streamCreatedMs(scheduleStream);
    while (!signal.aborted) {
      const earliest = await takeSchedules({ bus, store, logger, metrics, streamCreatedMs, signal });
      if (earliest !== undefined) this.#wake.resolve();
    }
  }

  async #publish(): Promise<void> {
    const { bus, store, logger } = this.#deps;
    const { signal } = this.#abort;
    const metrics = this.#metrics;
    await using publisher = bus.publisher({ deliveryTimeoutMs });
    while (!signal.aborted) {
      // Before the look at the table: a row that is stored during it must not be slept over.
      this.#wake = Promise.withResolvers();
      if (!bus.connected) await Promise.race([bus.whenConnected(), aborted(signal)]);
      const claimed = await publishDue({ publisher, store, logger, metrics });
      if (claimed === claimLimit) continue;
      const delayMs = await store.nextScheduleDelayMs();
      const sleep = new AbortController();
      const stopSleep = (): void => sleep.abort();
      void this.#wake.promise.then(stopSleep);
      signal.addEventListener("abort", stopSleep, { once: true });
      // Rows of other schedulers, and clocks that are set, are seen by then.
      await wait(Math.ceil(Math.min(delayMs ?? Infinity, this.#config.recheckMs)), sleep.signal);
      signal.removeEventListener("abort", stopSleep);
    }
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}
