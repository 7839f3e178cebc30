import { refusedCall } from "./call-result.ts";
import { createProgress, writeProgress } from "./executor-protocol.ts";
import type { ExecutorCall, ExecutorReply, ExecutorRequest, ExecutorResult } from "./executor-protocol.ts";
import { loadPlugin, PluginRefused, type LoadedPlugin } from "./load-plugin.ts";

/**
 * One message carries the results of this much work. Less than that can be lost with the thread, when the next call
 * never ends: its owner sends those calls again, to another thread.
 */
const MAX_HOLD_MS = 1;
const MAX_RESULTS_PER_MESSAGE = 64;
/** The sender's credits keep far below this; a sender without any gets failures, not an ever growing queue. */
const MAX_QUEUED_CALLS = 16_384;

export interface ExecutorPort {
  reply(message: ExecutorReply, transfer: ArrayBuffer[]): void;
  /** Resolves after messages that have arrived meanwhile were taken. */
  breathe(): Promise<void>;
}

/** What an executor thread does: keeps modules, runs calls one after the other, answers in batches. */
export class Executor {
  readonly #port: ExecutorPort;
  readonly #progress: SharedArrayBuffer;
  readonly #plugins = new Map<string, LoadedPlugin>();
  readonly #queue: (Exclude<ExecutorRequest, { kind: "run" }> | ExecutorCall)[] = [];
  #results: ExecutorResult[] = [];
  #batchStartedAt = 0;
  #running = false;

  constructor(port: ExecutorPort, progress: SharedArrayBuffer = createProgress()) {
    this.#port = port;
    this.#progress = progress;
  }

  take(request: ExecutorRequest): void {
    if (request.kind !== "run") this.#queue.push(request);
    else {
      for (const call of request.calls) {
        if (this.#queue.length < MAX_QUEUED_CALLS) this.#queue.push(call);
        else this.#done(call.callId, refusedCall("HOST_DENIED", `the executor's queue of ${MAX_QUEUED_CALLS} is full`));
      }
    }
    if (!this.#running) void this.#work();
  }

  async #work(): Promise<void> {
    this.#running = true;
    // By index: shifting a long array for each call would cost more than the call.
    for (let next = 0; next < this.#queue.length;) {
      const request = this.#queue[next++];
      if (request === undefined) break;
      if ("callId" in request) await this.#run(request);
      else await this.#manage(request);
      if (next >= 1024 || next === this.#queue.length) {
        this.#queue.splice(0, next);
        next = 0;
      }
      if (this.#isFlushDue()) {
        this.#flush();
        await this.#port.breathe();
      }
    }
    this.#flush();
    this.#running = false;
  }

  async #run({ callId, sha256, exportName, input, timeoutMs }: ExecutorCall): Promise<void> {
    const plugin = this.#plugins.get(sha256);
    if (!plugin) return this.#done(callId, refusedCall("HANDLER_GONE", `module ${sha256} is not loaded`));
    if (this.#results.length === 0) this.#batchStartedAt = performance.now();
    writeProgress(this.#progress, callId);
    const result = await plugin.call(exportName, input, { timeoutMs });
    writeProgress(this.#progress, 0);
    this.#done(callId, result);
  }

  async #manage(request: Exclude<ExecutorRequest, { kind: "run" }>): Promise<void> {
    if (request.kind === "unload") {
      this.#plugins.delete(request.sha256);
      return;
    }
    const { sha256, module, ...options } = request;
    try {
      this.#plugins.set(sha256, await loadPlugin(module, options));
      this.#port.reply({ kind: "loaded", sha256, ok: true }, []);
    } catch (error) {
      if (!(error instanceof PluginRefused)) throw error;
      this.#port.reply({ kind: "loaded", sha256, ok: false, problems: error.problems }, []);
    }
  }

  #done(callId: number, result: ExecutorResult["result"]): void {
    this.#results.push({ callId, result });
  }

  #isFlushDue(): boolean {
    if (this.#results.length === 0) return false;
    return this.#results.length >= MAX_RESULTS_PER_MESSAGE || performance.now() - this.#batchStartedAt >= MAX_HOLD_MS;
  }

  #flush(): void {
    if (this.#results.length === 0) return;
    const results = this.#results;
    this.#results = [];
    const transfer = results.flatMap(({ result }) =>
      result.ok && result.output.buffer instanceof ArrayBuffer ? [result.output.buffer] : [],
    );
    this.#port.reply({ kind: "done", results }, transfer);
  }
}
