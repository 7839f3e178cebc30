import { LiveAnswers, ReplayedAnswers, type CallAnswers, type HostPort } from "./call-answers.ts";
import { CallFailure } from "./call-failure.ts";
import { failedCall, refusedCall, type CallRecording, type CallResult } from "./call-result.ts";
import type { InstanceCall } from "./call-state.ts";
import { noCapabilities, type CallContext, type Capabilities } from "./host-calls.ts";
import { mayWait } from "./link-functions.ts";
import { PluginInstance, type InstanceOptions } from "./plugin-instance.ts";
import { resolveLimits, type PluginLimits } from "./plugin-limits.ts";
import { prepareModule, type PreparedModule } from "./prepare-module.ts";
import type { ThreadTurn } from "./thread-turn.ts";

export interface LoadOptions {
  /** What is left out, or 0, takes its default. */
  readonly limits?: Partial<PluginLimits>;
  /** Values for the PDK's Config. */
  readonly config?: Readonly<Record<string, string>>;
  /** Keeps one instance, with its memory and variables, from call to call. After a trap or a breach it starts anew. */
  readonly stateful?: boolean;
  /** Nothing when left out. */
  readonly granted?: Capabilities;
  /** For messages. */
  readonly name?: string;
  readonly version?: string;
}

export interface CallOptions {
  /** Can only shorten the plugin's own. */
  readonly timeoutMs?: number;
  readonly context?: CallContext;
  /** Answers host functions. Without one, whatever leaves the sandbox is denied. */
  readonly host?: HostPort;
  /** Keeps what the call learns from outside. */
  readonly record?: boolean;
  /** Ends a call that waits as CANCELLED. */
  readonly signal?: AbortSignal;
  /** Of the thread that the call shares with others, and its id there. */
  readonly turn?: ThreadTurn;
  readonly callId?: number;
}

/** A replay is bounded by fuel: what a call did in time once must not depend on how fast it does it again. */
const REPLAY_TIMEOUT_MS = 2 ** 31 - 1;

/** What the calls of one plugin hold, while they wait for host functions at the same time. */
const MAX_WAITING_BYTES = 512 * 1024 * 1024;

/** How far one call that holds less takes down what is expected of the next: one that held much is forgotten after dozens. */
const USUAL_BYTES_STEP = 1 / 16;

/** Instances that wait for a call, of a plugin whose calls wait: as many as it has had open at once, up to these bounds. */
const MAX_IDLE_INSTANCES = 256;
const MAX_IDLE_BYTES = 32 * 1024 * 1024;

/**
 * Compiles a module, once for all calls, and prepares it first where that was not done.
 * @throws PluginRefused when the module is not one that this host can run within the limits
 */
export async function loadPlugin(
  module: Uint8Array | PreparedModule,
  options: LoadOptions = {},
): Promise<LoadedPlugin> {
  const prepared = module instanceof Uint8Array ? prepareModule(module, options.limits) : module;
  return new LoadedPlugin(prepared, {
    module: await WebAssembly.compile(prepared.bytes),
    report: prepared.report,
    limits: resolveLimits(options.limits),
    config: new Map(Object.entries(options.config ?? {})),
    granted: options.granted ?? noCapabilities,
    plugin: { name: options.name ?? "unnamed", version: options.version ?? "" },
    stateful: options.stateful ?? false,
  });
}

/** A compiled plugin. Calls of one that never waits do not overlap: each runs to its end inside the thread that asked. */
export class LoadedPlugin {
  readonly prepared: PreparedModule;
  /** Whether its calls may wait for host functions, while others execute. */
  readonly waits: boolean;
  readonly #options: InstanceOptions;
  /** Instances that wait for the next call, as good as new (or with its state, when stateful). */
  readonly #idle: PluginInstance[] = [];
  #idleBytes = 0;
  #waitingBytes = 0;
  /** Calls that may wait and have not ended. */
  #openWaits = 0;
  /** What a call comes to hold when it waits: as much as one was seen to, and less after others that hold less. */
  #usualBytes = 0;
  /** Tail of the calls of a stateful plugin: they share one instance. */
  #tail: Promise<unknown> = Promise.resolve();
  /** Calls of a stateful plugin that have not ended. */
  #open = 0;

  constructor(prepared: PreparedModule, options: InstanceOptions) {
    this.prepared = prepared;
    this.#options = options;
    this.waits = mayWait(WebAssembly.Module.imports(options.module), options.granted);
  }

  get limits(): PluginLimits {
    return this.#options.limits;
  }

  /** Whether a call would begin at once, not behind another of a stateful plugin, and may come to hold what others did. */
  get isFree(): boolean {
    if (this.#options.stateful && this.#open > 0) return false;
    return this.#openWaits === 0 || (this.#openWaits + 1) * this.#usualBytes <= MAX_WAITING_BYTES;
  }

  /** What the calls that wait hold, as it was when they began to. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /**
   * Runs an export on an input. Blocks the thread while the module executes; a module that never returns blocks it until it is
   * out of fuel, so calls belong into a thread that can be killed.
   */
  call(exportName: string, input: Uint8Array, options: CallOptions = {}): Promise<CallResult> {
    const { limits } = this.#options;
    const answers = new LiveAnswers(options.host, options.record ?? false);
    const timeoutMs = Math.min(options.timeoutMs ?? limits.timeoutMs, limits.timeoutMs);
    return this.#inOrder(() => this.#run(exportName, callOf(input, timeoutMs, answers, options)));
  }

  /** Runs a call again from what it learned: no I/O, no clock, and the same result, fuel and logs. */
  async replay(exportName: string, input: Uint8Array, recording: CallRecording): Promise<CallResult> {
    if (recording.truncated) return refusedCall("HOST_DENIED", "the recording is truncated: it cannot be replayed");
    const answers = new ReplayedAnswers(recording);
    const call = callOf(input, REPLAY_TIMEOUT_MS, answers, {});
    const instance = await this.#createInstance(answers);
    if (!(instance instanceof PluginInstance)) return instance;
    return this.waits ? instance.runWaiting(exportName, call) : instance.run(exportName, call);
  }

  #inOrder(run: () => Promise<CallResult>): Promise<CallResult> {
    if (!this.#options.stateful) return run();
    this.#open++;
    const result = this.#tail.then(run).finally(() => this.#open--);
    this.#tail = result;
    return result;
  }

  async #run(exportName: string, call: InstanceCall): Promise<CallResult> {
    const { limits, stateful } = this.#options;
    const { length: figure } = call.input;
    if (figure > limits.inputBytes) {
      const breach = { resource: "input", figure, limit: limits.inputBytes, unit: "bytes" } as const;
      return refusedCall("HOST_DENIED", `input of ${figure} bytes; the limit is ${limits.inputBytes}`, breach);
    }
    const turn = call.turn?.take(call.callId);
    if (turn) await turn;
    try {
      if (call.signal?.aborted) return refusedCall("CANCELLED", "cancelled before it began");
      const instance = this.#takeIdle() ?? (await this.#createInstance(new LiveAnswers(undefined, true)));
      if (!(instance instanceof PluginInstance)) return instance;
      const result = this.waits ? await this.#runWaiting(instance, exportName, call) : instance.run(exportName, call);
      if (stateful) instance.freeHostMemory();
      else instance.restore();
      this.#putIdle(instance);
      return result;
    } finally {
      call.turn?.leave();
    }
  }

  async #runWaiting(instance: PluginInstance, exportName: string, call: InstanceCall): Promise<CallResult> {
    let held = 0;
    let most = 0;
    const hold = (bytes: number) => {
      this.#waitingBytes += bytes - held;
      held = bytes;
      most = Math.max(most, bytes);
      this.#usualBytes = Math.max(this.#usualBytes, bytes);
    };
    this.#openWaits++;
    const beforeWait = (): CallFailure | undefined => {
      hold(instance.heldBytes);
      const isAlone = this.#waitingBytes === held;
      return isAlone || this.#waitingBytes <= MAX_WAITING_BYTES ? undefined : tooMuchHeld(this.#waitingBytes);
    };
    const result = await instance.runWaiting(exportName, { ...call, beforeWait });
    hold(0);
    this.#openWaits--;
    this.#usualBytes += (most - this.#usualBytes) * USUAL_BYTES_STEP;
    return result;
  }

  #takeIdle(): PluginInstance | undefined {
    const instance = this.#idle.pop();
    if (instance) this.#idleBytes -= instance.memoryBytes;
    return instance;
  }

  #putIdle(instance: PluginInstance): void {
    const bytes = instance.memoryBytes;
    const isRoom = this.#idle.length < MAX_IDLE_INSTANCES && this.#idleBytes + bytes <= MAX_IDLE_BYTES;
    if (!instance.usable || (this.#idle.length > 0 && !isRoom)) return;
    this.#idle.push(instance);
    this.#idleBytes += bytes;
  }

  async #createInstance(answers: CallAnswers): Promise<PluginInstance | CallResult> {
    const startedAt = performance.now();
    try {
      return await PluginInstance.create(this.#options, answers);
    } catch (error) {
      const durationUs = Math.round((performance.now() - startedAt) * 1000);
      const figures = { durationUs, executedUs: durationUs, logs: [], fuel: fuelOf(error), memoryBytes: 0 };
      return failedCall(startUpFailure(error), figures);
    }
  }
}

function tooMuchHeld(figure: number): CallFailure {
  const limit = MAX_WAITING_BYTES;
  const message = `the plugin's calls that wait hold ${figure} bytes; the limit is ${limit}`;
  return new CallFailure("OUT_OF_MEMORY", message, { resource: "host_memory", figure, limit, unit: "bytes" });
}

function startUpFailure(error: unknown): CallFailure {
  const message = `at start-up: ${error instanceof Error ? error.message : String(error)}`;
  // What is no failure of the module's is of the engine's: out of address space, say.
  return error instanceof CallFailure
    ? new CallFailure(error.code, message, error.breach)
    : new CallFailure("TRAPPED", message);
}

function fuelOf(error: unknown): number {
  return error instanceof CallFailure && error.breach?.resource === "fuel" ? error.breach.figure : 0;
}

function callOf(input: Uint8Array, timeoutMs: number, answers: CallAnswers, options: CallOptions): InstanceCall {
  const { callId = 0, turn, context, signal } = options;
  return { input, timeoutMs, answers, callId, turn, context, signal, beforeWait: undefined };
}
