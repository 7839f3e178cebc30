import type { ActorSpec, SupervisorSpec } from "@millrace/actor";
import {
  refusedCall,
  type CallResult,
  type ExecutorResult,
  type HostAnswer,
  type HostAsk,
  type PreparedModule,
} from "@millrace/plugin-host";
import type { JobHeap } from "../job-heap.ts";
import type { Job } from "../job.ts";
import type { PluginCatalog } from "../plugins/plugin-catalog.ts";
import type { RunnableVersion } from "../plugins/runnable-version.ts";
import type { RefusedVersion } from "../plugins/version-shelf.ts";
import { RunAverage } from "../run-average.ts";
import type { ExecutorKind } from "./executor-channel.ts";
import { ExecutorHandle } from "./executor-handle.ts";
import { ModulePreparer } from "./module-preparer.ts";
import { startWatchdog } from "./executor-watchdog.ts";
import type { PluginCall } from "./plugin-call.ts";

/** An executor holds about this much work, so that an urgent job never waits for long behind what was sent already. */
const heldWorkMs = 4;
const mostAtOnce = 256;
const mostAtOnceBytes = 4 << 20;
/** About what a core does, on the slow side. */
const fuelPerMs = 5_000_000;
/** Short calls that the front executor takes while all others are held by long ones. */
const mostInFront = 16;
/** Calls of one executor that wait for host functions; as many as it suspends. */
const mostWaiting = 256;
/** Invocations from outside of any queue, in all executors. */
const mostInvocations = 512;
/** Of one plugin: what callers do with its endpoints is not to keep the interceptors of others from running. */
const mostOfOnePlugin = 256;

export interface ExecutorPoolOptions {
  readonly executors: number;
  readonly kind: ExecutorKind;
  readonly catalog: PluginCatalog;
  readonly heap: JobHeap<Job>;
  /** What to run for a job just before it is sent; undefined when it was dealt with otherwise. */
  prepare(job: Job): PluginCall | undefined;
  /** A job has been running for a while. */
  onBegun(job: Job): void;
  /** Exactly once for each call that was sent and not put back. */
  onResult(call: PluginCall, result: CallResult): void;
  /** Its plugin does not load: the job has to find another route, or wait. */
  onUnroutable(job: Job): void;
  onAsk(call: PluginCall, ask: HostAsk): Promise<HostAnswer>;
  onKill(): void;
  /** Room has come free. */
  onRoom(): void;
}

/**
 * Disposable executors that run plugin calls. The pool is a supervisor of one actor for each: one that hangs or crashes fails
 * its actor, which is started anew, and calls that had not begun, or only waited, go back to where they came from.
 *
 * One more executor stands in front, for calls that somebody waits for: they pass by all jobs. It prepares modules too, and runs
 * calls that are known to be short while every other executor is held by a long one.
 */
export class ExecutorPool {
  readonly average = new RunAverage();
  readonly #options: ExecutorPoolOptions;
  readonly #executors = new Set<ExecutorHandle>();
  readonly #preparer = new ModulePreparer();
  readonly #fail = new Map<ExecutorHandle, (error: unknown) => void>();
  /** Sent to no executor yet: there was none. */
  #invocations: PluginCall[] = [];
  #front: ExecutorHandle | undefined;
  /** Executors killed so far. */
  kills = 0;

  constructor(options: ExecutorPoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#executors.size;
  }

  get running(): number {
    let open = 0;
    for (const executor of this.#all()) open += executor.open.size;
    return open;
  }

  /** Calls that wait for host functions and hold nobody up. */
  get waiting(): number {
    let waiting = 0;
    for (const executor of this.#all()) waiting += executor.waiting;
    return waiting;
  }

  get free(): number {
    if (this.isHeld) return this.#front === undefined ? 0 : room(this.#front, mostInFront);
    const limit = this.#perExecutor();
    let free = 0;
    for (const executor of this.#executors) if (!holdsLong(executor)) free += room(executor, limit);
    return free;
  }

  /** Every executor but the front one runs a long call: jobs that wait are not about to begin. */
  get isHeld(): boolean {
    for (const executor of this.#executors) if (!holdsLong(executor)) return false;
    return this.#executors.size > 0;
  }

  /** The branch of the supervision tree. */
  spec(): SupervisorSpec {
    const names = Array.from({ length: this.#options.executors }, (_, i) => `executor-${i + 1}`);
    return {
      kind: "supervisor",
      name: "executors",
      strategy: "one_for_one",
      // A plugin that hangs at each call costs an executor each time; that must not bring down the worker.
      limits: { maxRestarts: 1000, withinMs: 30_000, baseDelayMs: 10, maxDelayMs: 1000 },
      children: ["executor-front", ...names].map((name) => this.#executor(name)),
    };
  }

  /** Has the module of a version rewritten, once for all. @returns why it cannot run, when it cannot */
  prepare(version: RunnableVersion): Promise<RefusedVersion | undefined> {
    return this.#preparer.prepare(version);
  }

  /** Sends what fits. Called when jobs or room have come. */
  dispatch(): void {
    if (this.#options.heap.size === 0) return;
    const limit = this.#perExecutor();
    const [held, others] = [new Set<ExecutorHandle>(), new Set<ExecutorHandle>()];
    for (const executor of this.#executors) (holdsLong(executor) ? held : others).add(executor);
    if (others.size === 0 && held.size > 0 && this.#front !== undefined)
      this.#fill(this.#front, room(this.#front, mostInFront), true);
    for (const executor of others) this.#fill(executor, room(executor, limit), false);
    // For critical jobs only.
    for (const executor of held) this.#fill(executor, 0, false);
  }

  #fill(executor: ExecutorHandle, most: number, shortOnly: boolean): void {
    const { heap } = this.#options;
    const calls: PluginCall[] = [];
    const passedOver: Job[] = [];
    let bytes = 0;
    while (heap.size > 0 && bytes < mostAtOnceBytes && passedOver.length < mostInFront) {
      // Critical jobs do not wait for the executor's budget.
      const job = calls.length < most ? heap.pop() : shortOnly ? undefined : heap.popCritical();
      if (job === undefined) break;
      const call = this.#options.prepare(job);
      if (call === undefined) continue;
      if (shortOnly && isLong(call)) {
        passedOver.push(job);
        continue;
      }
      bytes += call.input.length;
      calls.push(call);
      // Nothing is to wait behind it, or while its module is compiled.
      if (isLong(call) || !executor.loaded.has(call.version.key)) break;
    }
    for (const job of passedOver.reverse()) this.#putBack(job);
    if (calls.length > 0) executor.run(calls);
  }

  #putBack(job: Job): void {
    job.phase = "waiting";
    this.#options.heap.unpop(job);
  }

  /** Runs a call that somebody waits for, ahead of all jobs. */
  invoke(call: PluginCall): void {
    const { name } = call.version;
    let open = 0;
    let ofPlugin = 0;
    for (const other of this.#openInvocations()) {
      open++;
      if (other.version.name === name) ofPlugin++;
    }
    if (open < mostInvocations && ofPlugin < mostOfOnePlugin) return this.#place(call);
    const what =
      open < mostInvocations ? `${mostOfOnePlugin} invocations of ${name}` : `${mostInvocations} invocations`;
    this.#options.onResult(call, refusedCall("HANDLER_FAILED", `this worker runs ${what} already`));
  }

  /** Breaks off a job: at once when it waits or has not begun, else by ending its executor after a grace. */
  cancel(job: Job): void {
    for (const executor of this.#all()) {
      for (const call of executor.open.values()) if (call.job === job) executor.cancel(call);
    }
  }

  /** Lets executors forget versions that nothing leads to any more. */
  unloadOld(): void {
    for (const executor of this.#all()) {
      for (const version of executor.loaded.values()) {
        if (!this.#options.catalog.isCurrent(version) && !this.#preparer.isAtWork(version))
          executor.unload(version.key);
      }
    }
  }

  *#all(): Iterable<ExecutorHandle> {
    if (this.#front !== undefined) yield this.#front;
    yield* this.#executors;
  }

  *#openInvocations(): Iterable<PluginCall> {
    yield* this.#invocations;
    for (const executor of this.#all()) for (const call of executor.open.values()) if (!call.job) yield call;
  }

  #perExecutor(): number {
    return this.average.jobsIn(heldWorkMs, 1, 1, mostAtOnce);
  }

  #place(call: PluginCall): void {
    let best: ExecutorHandle | undefined;
    for (const executor of this.#all()) if (best === undefined || crowd(executor) < crowd(best)) best = executor;
    if (best === undefined) this.#invocations.push(call);
    else best.run([call]);
  }

  #executor(name: string): ActorSpec {
    const isFront = name === "executor-front";
    return {
      name,
      start: async (context) => {
        const executor = await ExecutorHandle.start(this.#options.kind, {
          onResults: (from, results) => this.#results(from, results),
          onAsk: (call, ask) => this.#ask(call, ask),
          onLoaded: (version, prepared) => this.#loaded(version, prepared),
          onRefused: (version, reason) => this.#refused(version, reason),
          onGone: (_gone, error) => context.fail(error),
        });
        if (isFront) {
          this.#front = executor;
          this.#preparer.attach(executor, context.fail);
        } else this.#executors.add(executor);
        this.#fail.set(executor, context.fail);
        const watchdog = startWatchdog(executor, {
          onBegun: this.#options.onBegun,
          onOverdue: this.#options.onResult,
          onHang: (message) => this.#kill(executor, message),
        });
        for (const call of this.#invocations.splice(0)) this.#place(call);
        this.#options.onRoom();
        return {
          receive: () => undefined,
          health: () => ({ ok: true, detail: `${executor.name}, ${executor.open.size} open calls` }),
          stop: async (reason) => {
            watchdog[Symbol.dispose]();
            this.#executors.delete(executor);
            this.#fail.delete(executor);
            if (isFront) {
              this.#front = undefined;
              this.#preparer.detach();
            }
            const suspect = reason.kind === "failed" ? executor.suspect() : undefined;
            await executor.end();
            this.#abandon(executor, suspect, reason.kind === "failed");
          },
        };
      },
    };
  }

  #results(executor: ExecutorHandle, results: readonly ExecutorResult[]): void {
    for (const { callId, result } of results) {
      const call = executor.take(callId);
      if (call === undefined) continue;
      if (call.job !== undefined) {
        const executedMs = result.executedUs / 1000;
        this.#record(call, executedMs, result.fuel / fuelPerMs);
      }
      this.#options.onResult(call, result);
    }
    this.dispatch();
    this.#options.onRoom();
  }

  #record({ version, exportName }: PluginCall, clockMs: number, fuelMs: number): void {
    this.average.record(clockMs);
    version.work(exportName).record(clockMs, fuelMs);
  }

  async #ask(call: PluginCall, ask: HostAsk): Promise<HostAnswer> {
    // It is over for now, and was no longer than this: calls that wait tell how short they are long before they end.
    const ranMs = call.askedMs - call.sentMs;
    if (call.job !== undefined && call.asks === 1 && ranMs < this.average.ms) this.#record(call, ranMs, ranMs);
    // The executor goes on with other calls.
    this.#options.onRoom();
    return this.#options.onAsk(call, ask);
  }

  #loaded(version: RunnableVersion, prepared: PreparedModule | undefined): void {
    if (prepared !== undefined) version.module = prepared;
    this.#preparer.done(version, undefined);
  }

  #refused(version: RunnableVersion, reason: string): void {
    if (this.#preparer.done(version, { refused: `it does not load: ${reason}`, mayPass: false })) return;
    this.#options.catalog.refuse(version, `it does not load: ${reason}`);
    for (const executor of this.#all()) {
      for (const [callId, call] of executor.open) {
        if (call.version !== version) continue;
        executor.take(callId);
        // Not the job's fault: it waits until the plugin loads.
        if (call.job !== undefined) this.#options.onUnroutable(call.job);
        else
          this.#options.onResult(call, refusedCall("HANDLER_GONE", `plugin ${version.label} does not load: ${reason}`));
      }
    }
  }

  /** It cannot be interrupted: it goes, and what waits in it begins again elsewhere. */
  #kill(executor: ExecutorHandle, reason: string): void {
    this.kills++;
    executor.killed = true;
    this.#options.onKill();
    this.#fail.get(executor)?.(new Error(reason));
  }

  /** What an executor leaves behind: the call that ran has crashed with it, the others begin again elsewhere. */
  #abandon(executor: ExecutorHandle, suspect: PluginCall | undefined, crashed: boolean): void {
    for (const [callId, call] of [...executor.open].reverse()) {
      executor.take(callId);
      if (call === suspect) {
        this.#options.onResult(call, refusedCall("CRASHED", "the executor died while it ran this call"));
      } else if (call.job === undefined) {
        if (crashed) this.#place(call.again());
        else this.#options.onResult(call, refusedCall("HANDLER_FAILED", "the worker stops"));
      } else if (call.job.phase === "running") {
        this.#putBack(call.job);
      }
    }
    this.dispatch();
  }
}

/** What stands before another call; all of those that wait, where no more of them may. */
function crowd({ busy, waiting }: ExecutorHandle): number {
  return waiting >= mostWaiting ? busy + waiting : busy;
}

/** How many more calls an executor takes. */
function room(executor: ExecutorHandle, limit: number): number {
  return executor.waiting >= mostWaiting ? 0 : Math.max(0, limit - executor.busy);
}

/** Whether a call is going to hold its executor; so is one of an export that has not shown otherwise. */
function isLong({ version, exportName }: PluginCall): boolean {
  return version.work(exportName).ms > heldWorkMs;
}

function holdsLong(executor: ExecutorHandle): boolean {
  if (executor.loading > 0) return true;
  for (const call of executor.open.values()) if (call.asks === 0 && isLong(call)) return true;
  return false;
}
