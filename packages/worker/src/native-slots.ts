import type { Job } from "./job.ts";
import { JobContext, type JobHandler } from "./job-context.ts";
import type { JobHeap } from "./job-heap.ts";
import { Outcome } from "./outcome.ts";
import { RunAverage } from "./run-average.ts";

/** Starting handlers is broken off after so long, so that the bus gets its turn. */
const turnMs = 4;
const watchMs = 10;
/** What a cancelled handler may take to come to an end by its signal. */
const cancelGraceMs = 1000;

export interface NativeSlotsOptions {
  readonly slots: number;
  /** Further slots that only critical jobs get. */
  readonly reservedSlots: number;
  readonly handlerTimeoutMs: number;
  readonly heap: JobHeap<Job>;
  handler(type: string): JobHandler | undefined;
  /** Checks a job just before it runs; false when it was dealt with otherwise. */
  admit(job: Job): boolean;
  onBegun(job: Job): void;
  /** Exactly once for each job that began. */
  onOutcome(job: Job, outcome: Outcome, runUs: number): void;
  /** Room has come free. */
  onRoom(): void;
  onUnroutable(job: Job): void;
}

/** Runs native handlers in the worker's own thread, so many at a time. */
export class NativeSlots {
  readonly average = new RunAverage();
  readonly #options: NativeSlotsOptions;
  readonly #running = new Set<Job>();
  #dispatching = false;
  #continuation: NodeJS.Immediate | undefined;
  #watcher: NodeJS.Timeout | undefined;

  constructor(options: NativeSlotsOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running.size;
  }

  get free(): number {
    return Math.max(0, this.#options.slots - this.#running.size);
  }

  /** Fills the slots from the heap. */
  dispatch(): void {
    if (this.#dispatching || this.#continuation !== undefined) return;
    this.#dispatching = true;
    const { heap, slots, reservedSlots } = this.#options;
    let endMs = 0;
    while (heap.size > 0) {
      const used = this.#running.size;
      if (used >= slots + reservedSlots) break;
      const job = used < slots ? heap.pop() : heap.popCritical();
      if (job === undefined) break;
      if (this.#options.admit(job)) this.#run(job);
      const nowMs = performance.now();
      // Most turns start one job, so the clock is not read before: its price counts here.
      if (endMs === 0) endMs = (job.startedMs || nowMs) + turnMs;
      if (nowMs >= endMs) {
        this.#continuation = setImmediate(() => {
          this.#continuation = undefined;
          this.dispatch();
        });
        break;
      }
    }
    this.#dispatching = false;
  }

  cancel(job: Job): void {
    job.timeoutAtMs = Math.min(job.timeoutAtMs, performance.now() + cancelGraceMs);
    job.onAbort?.(new Error("cancelled"));
  }

  /** Breaks off everything that runs; nothing is said for it. */
  abortAll(reason: unknown): void {
    for (const job of this.#running) {
      job.phase = "lost";
      job.onAbort?.(reason);
    }
    this.#running.clear();
  }

  /** Its lease is gone: the slot is free, the handler is told. */
  forget(job: Job): void {
    if (!this.#running.delete(job)) return;
    job.onAbort?.(new Error("lease lost"));
    this.#options.onRoom();
  }

  stop(): void {
    clearImmediate(this.#continuation);
    clearInterval(this.#watcher);
    this.#watcher = undefined;
  }

  #run(job: Job): void {
    const handler = this.#options.handler(job.type);
    if (handler === undefined) return this.#options.onUnroutable(job);
    job.phase = "running";
    job.startedMs = performance.now();
    job.startedAtMs = job.clock.atMs(job.startedMs);
    job.timeoutAtMs = job.startedMs + (job.options.timeoutMs || this.#options.handlerTimeoutMs);
    this.#running.add(job);
    let result: ReturnType<JobHandler>;
    try {
      result = handler(new JobContext(job));
    } catch (error) {
      return this.#end(job, Outcome.ofError(error));
    }
    if (!(result instanceof Promise)) return this.#end(job, Outcome.of(result));
    this.#options.onBegun(job);
    this.#watcher ??= setInterval(() => this.#watch(), watchMs);
    result.then(
      (value: unknown) => this.#end(job, value === undefined ? Outcome.empty : Outcome.of(value)),
      (error: unknown) => this.#end(job, Outcome.ofError(error)),
    );
  }

  #end(job: Job, outcome: Outcome): void {
    // It was given up already: out of time, cancelled, or its lease is lost.
    if (!this.#running.delete(job)) return;
    const runMs = performance.now() - job.startedMs;
    this.average.record(runMs);
    this.#options.onOutcome(job, outcome, runMs * 1000);
    this.dispatch();
    this.#options.onRoom();
  }

  #watch(): void {
    const nowMs = performance.now();
    if (this.#running.size === 0) {
      clearInterval(this.#watcher);
      this.#watcher = undefined;
      return;
    }
    for (const job of this.#running) {
      if (nowMs < job.timeoutAtMs) continue;
      const limitMs = job.options.timeoutMs || this.#options.handlerTimeoutMs;
      const message = `the handler ran longer than its ${limitMs} ms`;
      job.onAbort?.(new Error(message));
      this.#end(job, job.cancelRequested ? Outcome.cancelled() : Outcome.failed(message, { code: "TIMED_OUT" }));
    }
  }
}
