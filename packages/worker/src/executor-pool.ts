import type { ActorSpec, SupervisorSpec } from "@millrace/actor";
import { defaultLimits, type ExecutorResult, type LogEntry } from "@millrace/plugin-host";
import { ExecutorThreadHandle, type OpenCall } from "./executor-thread-handle.ts";
import type { Job } from "./job.ts";
import type { JobHeap } from "./job-heap.ts";
import { Outcome } from "./outcome.ts";
import type { PluginCatalog } from "./plugin-catalog.ts";
import { RunAverage } from "./run-average.ts";

/** A thread holds about this much work, so that an urgent job never waits for long behind what was sent already. */
const threadWorkMs = 4;
const mostPerThread = 256;
const mostPerThreadBytes = 4 << 20;
/** What a call may take beyond its time, before the thread is killed. */
const graceMs = 250;
/** What a cancelled call may take. */
const cancelGraceMs = 100;
const watchMs = 25;

export interface ExecutorPoolOptions {
  readonly threads: number;
  readonly catalog: PluginCatalog;
  readonly heap: JobHeap<Job>;
  /** Checks a job just before it is sent; false when it was dealt with otherwise. */
  admit(job: Job): boolean;
  /** A job has been running for a while. */
  onBegun(job: Job): void;
  /** Exactly once for each job that began and was not put back. */
  onOutcome(job: Job, outcome: Outcome, runUs: number): void;
  /** The job's route has changed while it waited, or its plugin does not load: it has to find another, or wait. */
  onUnroutable(job: Job): void;
  onLogs(job: Job, logs: readonly LogEntry[]): void;
  /** Room has come free. */
  onRoom(): void;
}

/**
 * Disposable threads that run plugin calls. The pool is a supervisor of one actor for each thread: a thread that hangs or
 * crashes fails its actor, which is started anew, and calls that had not begun go back to the heap.
 */
export class ExecutorPool {
  readonly average = new RunAverage();
  readonly #options: ExecutorPoolOptions;
  readonly #threads = new Set<ExecutorThreadHandle>();
  /** Jobs that were found running: those that are worth a `started` event. */
  readonly #seen = new WeakSet<Job>();
  readonly #fail = new Map<ExecutorThreadHandle, (error: unknown) => void>();
  /** Threads killed so far. */
  kills = 0;

  constructor(options: ExecutorPoolOptions) {
    this.#options = options;
  }

  get threads(): number {
    return this.#threads.size;
  }

  get running(): number {
    let open = 0;
    for (const thread of this.#threads) open += thread.open.size;
    return open;
  }

  get free(): number {
    return Math.max(0, this.#perThread() * this.#threads.size - this.running);
  }

  /** The branch of the supervision tree. */
  spec(): SupervisorSpec {
    return {
      kind: "supervisor",
      name: "executors",
      strategy: "one_for_one",
      // A plugin that hangs at each call costs a thread each time; that must not bring down the worker.
      limits: { maxRestarts: 1000, withinMs: 30_000, baseDelayMs: 10, maxDelayMs: 1000 },
      children: Array.from({ length: this.#options.threads }, (_, i) => this.#executor(`executor-${i + 1}`)),
    };
  }

  /** Sends what fits. Called when jobs or room have come. */
  dispatch(): void {
    const { heap } = this.#options;
    if (heap.size === 0) return;
    const limit = this.#perThread();
    for (const thread of this.#threads) {
      const calls: OpenCall[] = [];
      let bytes = 0;
      while (heap.size > 0 && bytes < mostPerThreadBytes) {
        // Critical jobs do not wait for the thread's budget.
        const job = thread.open.size + calls.length < limit ? heap.pop() : heap.popCritical();
        if (job === undefined) break;
        const call = this.#prepare(job);
        if (call === undefined) continue;
        bytes += job.delivery.data.length;
        calls.push(call);
      }
      if (calls.length > 0) thread.run(calls);
    }
  }

  /** Breaks off a job: at once when it has not begun, else by ending its thread after a grace. */
  cancel(job: Job): void {
    job.timeoutAtMs = performance.now() + cancelGraceMs;
  }

  #perThread(): number {
    return this.average.jobsIn(threadWorkMs, 1, 1, mostPerThread);
  }

  #prepare(job: Job): OpenCall | undefined {
    const route = this.#options.catalog.route(job.type);
    if (route.kind !== "plugin" || !this.#options.admit(job)) {
      if (route.kind !== "plugin") this.#options.onUnroutable(job);
      return undefined;
    }
    const own = route.version.plugin.manifest?.limits?.timeoutMs || defaultLimits.timeoutMs;
    const timeoutMs = job.options.timeoutMs === 0 ? own : Math.min(own, job.options.timeoutMs);
    job.phase = "running";
    job.startedAtMs = Date.now();
    job.startedMs = performance.now();
    job.timeoutAtMs = Infinity;
    return { job, version: route.version, exportName: route.exportName, timeoutMs };
  }

  #executor(name: string): ActorSpec {
    return {
      name,
      start: async (context) => {
        const thread = await ExecutorThreadHandle.start({
          onResults: (from, results) => this.#results(from, results),
          onRefused: (key, reason) => this.#refused(key, reason),
          onGone: (_gone, error) => context.fail(error),
        });
        this.#threads.add(thread);
        this.#fail.set(thread, context.fail);
        const timer = setInterval(() => this.#watch(thread), watchMs);
        this.#options.onRoom();
        return {
          receive: () => undefined,
          health: () => ({ ok: true, detail: `${thread.open.size} open calls` }),
          stop: async (reason) => {
            clearInterval(timer);
            this.#threads.delete(thread);
            this.#fail.delete(thread);
            const running = thread.running(performance.now())?.call;
            await thread.end();
            this.#abandon(thread, running, reason.kind === "failed");
          },
        };
      },
    };
  }

  #results(thread: ExecutorThreadHandle, results: readonly ExecutorResult[]): void {
    for (const { callId, result } of results) {
      const call = thread.open.get(callId);
      if (call === undefined) continue;
      thread.open.delete(callId);
      this.average.record(result.durationUs / 1000);
      // It was sent earlier than it began.
      call.job.startedAtMs = Math.max(call.job.startedAtMs, Date.now() - result.durationUs / 1000);
      const outcome = result.ok
        ? Outcome.succeeded(result.output)
        : Outcome.failed(result.message, { code: result.code, retryable: result.code !== "HANDLER_GONE" });
      if (result.logs.length > 0) this.#options.onLogs(call.job, result.logs);
      this.#options.onOutcome(call.job, outcome, result.durationUs);
    }
    for (const version of thread.loaded.values()) {
      if (!this.#options.catalog.isCurrent(version)) thread.unload(version.key);
    }
    this.dispatch();
    this.#options.onRoom();
  }

  #refused(key: string, reason: string): void {
    for (const thread of this.#threads) {
      for (const [callId, { job, version }] of thread.open) {
        if (version.key !== key) continue;
        thread.open.delete(callId);
        this.#options.catalog.refuse(version, reason);
        // Not the job's fault: it waits until the plugin loads.
        this.#options.onUnroutable(job);
      }
    }
  }

  /** A thread cannot be interrupted; when a call outlasts its time, the thread goes. */
  #watch(thread: ExecutorThreadHandle): void {
    const nowMs = performance.now();
    const running = thread.running(nowMs);
    if (running === undefined) return;
    const { call, forMs } = running;
    const { job, timeoutMs } = call;
    if (!this.#seen.has(job)) {
      this.#seen.add(job);
      job.startedAtMs = Date.now() - forMs;
      this.#options.onBegun(job);
    }
    if (job.cancelRequested && nowMs >= job.timeoutAtMs) this.#kill(thread, call, Outcome.cancelled());
    else if (forMs > timeoutMs + graceMs) {
      const message = `the call ran longer than its ${timeoutMs} ms`;
      this.#kill(thread, call, Outcome.failed(message, { code: "TIMED_OUT" }));
    }
  }

  #kill(thread: ExecutorThreadHandle, call: OpenCall, outcome: Outcome): void {
    this.kills++;
    for (const [callId, open] of thread.open) if (open === call) thread.open.delete(callId);
    this.#options.onOutcome(call.job, outcome, (performance.now() - call.job.startedMs) * 1000);
    this.#fail.get(thread)?.(new Error(outcome.message));
  }

  /** What a thread leaves behind: the call that ran has crashed with it, the others have not begun. */
  #abandon(thread: ExecutorThreadHandle, running: OpenCall | undefined, crashed: boolean): void {
    for (const call of [...thread.open.values()].reverse()) {
      if (call.job.phase !== "running") continue;
      if (crashed && call === running) {
        const failure = Outcome.failed("the executor thread died while it ran this job", { code: "CRASHED" });
        this.#options.onOutcome(call.job, failure, (performance.now() - call.job.startedMs) * 1000);
      } else {
        call.job.phase = "waiting";
        this.#options.heap.unpop(call.job);
      }
    }
    thread.open.clear();
    this.dispatch();
  }
}
