import { refusedCall } from "./call-result.ts";
import { createProgress, writeProgress } from "./executor-protocol.ts";
import type { ExecutorCall, ExecutorReply, ExecutorRequest, ExecutorResult } from "./executor-protocol.ts";
import { loadPlugin, type CallOptions, type LoadedPlugin } from "./load-plugin.ts";
import { OpenCalls } from "./open-calls.ts";
import { ParkedCalls } from "./parked-calls.ts";
import { PluginRefused } from "./plugin-refused.ts";
import { SingleTurn } from "./thread-turn.ts";

/**
 * One message carries the results of this much work. Less than that can be lost with the thread, when the next call
 * never ends: its owner sends those calls again, to another thread.
 */
const MAX_HOLD_MS = 1;
const MAX_RESULTS_PER_MESSAGE = 64;
/** The sender's credits keep far below this; a sender without any gets failures, not an ever growing queue. */
const MAX_QUEUED_CALLS = 16_384;
/** Calls that may wait for host functions at once; 60,000 killed Deno. */
const MAX_OPEN_CALLS = 256;
/** What calls hold while they wait, when another begins. */
const MAX_OPEN_BYTES = 512 * 1024 * 1024;

export interface ExecutorPort {
  reply(message: ExecutorReply, transfer: ArrayBuffer[]): void;
  /** Resolves after messages that have arrived meanwhile were taken. */
  breathe(): Promise<void>;
}

type ManageRequest = Extract<ExecutorRequest, { kind: "load" | "unload" }>;

/** What an executor thread does: keeps modules, runs calls one after the other, answers in batches. */
export class Executor {
  readonly #port: ExecutorPort;
  readonly #turn: SingleTurn;
  readonly #open: OpenCalls;
  readonly #plugins = new Map<string, LoadedPlugin>();
  readonly #queue: (ManageRequest | ExecutorCall)[] = [];
  /** Calls that would wait, while too many do: others go past them. */
  readonly #parked = new ParkedCalls();
  /** Calls of the queue or the parked that were cancelled. */
  readonly #cancelled = new Set<number>();
  #results: ExecutorResult[] = [];
  #batchStartedAt = 0;
  #running = false;
  #flushing = false;
  #beginning = false;

  constructor(port: ExecutorPort, progress: SharedArrayBuffer = createProgress()) {
    this.#port = port;
    this.#turn = new SingleTurn((callId) => writeProgress(progress, callId));
    this.#open = new OpenCalls((message, transfer) => port.reply(message, transfer));
  }

  take(request: ExecutorRequest): void {
    switch (request.kind) {
      case "answer":
        return this.#open.answer(request.callId, request.ask, request);
      case "cancel":
        return this.#cancel(request.callId);
      case "run":
        for (const call of request.calls) this.#enqueue(call);
        break;
      default:
        this.#queue.push(request);
    }
    if (!this.#running) void this.#work();
  }

  #enqueue(call: ExecutorCall): void {
    if (this.#queue.length + this.#parked.size < MAX_QUEUED_CALLS) this.#queue.push(call);
    else this.#done(call.callId, refusedCall("HOST_DENIED", `the executor's queue of ${MAX_QUEUED_CALLS} is full`));
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

  async #run(call: ExecutorCall): Promise<void> {
    const { callId, sha256, exportName, input } = call;
    if (this.#cancelled.delete(callId)) return this.#done(callId, cancelled());
    const plugin = this.#plugins.get(sha256);
    if (!plugin) return this.#done(callId, refusedCall("HANDLER_GONE", `module ${sha256} is not loaded`));
    if (plugin.waits) {
      this.#parked.add(plugin, call);
      void this.#beginParked();
      return;
    }
    // From here, not from its end: a call that takes long goes out before the next begins.
    if (this.#results.length === 0) this.#batchStartedAt = performance.now();
    const options = { ...this.#optionsOf(call), host: this.#open.hostOf(callId) };
    this.#done(callId, await plugin.call(exportName, input, options));
  }

  /** One after the other: what the former takes, when it waits or has ended, decides whether the next may begin. */
  async #beginParked(): Promise<void> {
    if (this.#beginning) return;
    this.#beginning = true;
    while (this.#parked.size > 0 && this.#isRoom()) {
      const next = this.#parked.take();
      if (!next) break;
      void this.#runWaiting(next.call, next.plugin);
      const turn = this.#turn.take(0);
      if (turn) await turn;
      this.#turn.leave();
    }
    this.#beginning = false;
  }

  async #runWaiting(call: ExecutorCall, plugin: LoadedPlugin): Promise<void> {
    const { callId, exportName, input } = call;
    if (this.#cancelled.delete(callId)) this.#done(callId, cancelled());
    else {
      const { host, signal } = this.#open.add(callId);
      const result = await plugin.call(exportName, input, { ...this.#optionsOf(call), host, signal });
      this.#open.remove(callId);
      this.#done(callId, result);
      void this.#beginParked();
    }
    this.#flushSoon();
  }

  #isRoom(): boolean {
    let bytes = 0;
    for (const plugin of this.#plugins.values()) bytes += plugin.waitingBytes;
    return this.#open.size < MAX_OPEN_CALLS && bytes < MAX_OPEN_BYTES;
  }

  #optionsOf({ callId, timeoutMs, context, record = false }: ExecutorCall): CallOptions {
    return { callId, timeoutMs, record, turn: this.#turn, ...(context === undefined ? {} : { context }) };
  }

  #cancel(callId: number): void {
    if (this.#open.cancel(callId)) return;
    const isQueued = this.#queue.some((request) => "callId" in request && request.callId === callId);
    if (isQueued || this.#parked.has(callId)) this.#cancelled.add(callId);
  }

  async #manage(request: ManageRequest): Promise<void> {
    if (request.kind === "unload") {
      this.#plugins.delete(request.sha256);
      return;
    }
    const { sha256, module, ...options } = request;
    try {
      const plugin = await loadPlugin(module, options);
      this.#plugins.set(sha256, plugin);
      const prepared = module instanceof Uint8Array ? { prepared: plugin.prepared } : {};
      this.#port.reply({ kind: "loaded", sha256, ok: true, waits: plugin.waits, ...prepared }, []);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const problems = error instanceof PluginRefused ? error.problems : [{ field: "module", reason }];
      this.#port.reply({ kind: "loaded", sha256, ok: false, problems }, []);
    }
  }

  #done(callId: number, result: ExecutorResult["result"]): void {
    // Nobody runs again what went well, and each answer would be copied on its way.
    this.#results.push({ callId, result: result.ok && result.recording ? withoutRecording(result) : result });
  }

  #isFlushDue(): boolean {
    if (this.#results.length === 0) return false;
    return this.#results.length >= MAX_RESULTS_PER_MESSAGE || performance.now() - this.#batchStartedAt >= MAX_HOLD_MS;
  }

  /** For results that come while nothing is in the queue: those of one turn of the event loop go together. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    void this.#port.breathe().then(() => {
      this.#flushing = false;
      this.#flush();
    });
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

function withoutRecording(result: ExecutorResult["result"]): ExecutorResult["result"] {
  const { recording: _, ...others } = result;
  return others;
}

function cancelled(): ExecutorResult["result"] {
  return refusedCall("CANCELLED", "cancelled before it began");
}
