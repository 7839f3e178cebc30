import type { CallContext } from "@extism/extism";
import { Gauge, InstanceSnapshot, reservedNames as meterNames, type MeterReport } from "@millrace/wasm-meter";
import type { CallAnswers } from "./call-answers.ts";
import { CallFailure, timedOut } from "./call-failure.ts";
import { failedCall, type CallRecording, type CallResult } from "./call-result.ts";
import { CallState, type InstanceCall } from "./call-state.ts";
import { ContextProbe } from "./context-probe.ts";
import { errorText, failureOf } from "./failure-of.ts";
import type { Capabilities } from "./host-calls.ts";
import { copyRegion, viewOf } from "./host-memory.ts";
import { promising } from "./jspi.ts";
import type { PluginName } from "./asking-functions.ts";
import { linkFunctions } from "./link-functions.ts";
import type { PluginLimits } from "./plugin-limits.ts";
import { reservedNames } from "./reserved-names.ts";

export interface InstanceOptions {
  readonly module: WebAssembly.Module;
  readonly report: MeterReport;
  readonly limits: PluginLimits;
  readonly config: ReadonlyMap<string, string>;
  readonly granted: Capabilities;
  /** For messages. */
  readonly plugin: PluginName;
  readonly stateful: boolean;
}

/**
 * Of memory that is put back after a call. At 1 MiB that takes 30 us, at 4 MiB 115 us; a fresh instance takes 105 to 130 us, and
 * leaves garbage that stops the thread for milliseconds now and then.
 */
const MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024;

/** Of the engine's heap, with all its values. */
const MOST_EXCEPTION_BYTES = 800;

/** One live instance of a plugin's module. It runs one call at a time. */
export class PluginInstance {
  readonly #exports: WebAssembly.Exports;
  readonly #state: CallState;
  readonly #context: CallContext;
  /** Extism's block 0: one byte that a module can write to and that a reset leaves alone. */
  readonly #nullPage: Uint8Array;
  readonly #resetBlocks: () => Promise<boolean>;
  readonly #snapshot: InstanceSnapshot | undefined;
  /** What start-up learned belongs to the recording of each call. */
  readonly #startUp: CallRecording | undefined;
  readonly #catches: boolean;
  readonly #promising = new Map<string, () => Promise<unknown>>();
  #usable = true;

  private constructor(
    exports: WebAssembly.Exports,
    state: CallState,
    context: CallContext,
    resetBlocks: () => Promise<boolean>,
    snapshot: InstanceSnapshot | undefined,
    startUp: CallRecording | undefined,
    catches: boolean,
  ) {
    this.#exports = exports;
    this.#state = state;
    this.#context = context;
    this.#nullPage = viewOf(context, 0n);
    this.#resetBlocks = resetBlocks;
    this.#snapshot = snapshot;
    this.#startUp = startUp;
    this.#catches = catches;
  }

  /** @throws what the module's start-up throws; a CallFailure where a limit or a host function ended it */
  static async create(options: InstanceOptions, answers: CallAnswers): Promise<PluginInstance> {
    const { module, report, limits, stateful } = options;
    const state = new CallState(limits, startUpCall(limits, answers));
    const link = new ContextProbe();
    let exports: WebAssembly.Exports = {};
    const imports = WebAssembly.Module.imports(module);
    const functions = {
      ...linkFunctions(imports, state, { ...options, memoryOf: () => memoryOf(exports) }),
      [link.namespace]: link.functions,
    };
    // At first use: the import loads node:wasi, which warns, and a process that only inspects modules needs neither.
    const { createPlugin } = await import("@extism/extism");
    const plugin = await createPlugin({ wasm: [{ module }] }, { functions, runInWorker: false });
    exports = (await plugin.getInstance()).exports;
    state.gauge = new Gauge(exports, report.limits);
    const usesWasi = imports.some((item) => item.module === reservedNames.wasi);
    try {
      startUp(exports, state.gauge, limits.fuel, usesWasi);
    } catch (error) {
      throw failureOf(error, state, link.context);
    }
    const snapshot = stateful ? undefined : InstanceSnapshot.take(exports, report.state, MAX_SNAPSHOT_BYTES);
    // What start-up left in host memory would be there for the first call only.
    await plugin.reset();
    if (!stateful) state.clearVariables();
    const catches = report.features.some((feature) => feature.startsWith("exceptions"));
    return new PluginInstance(exports, state, link.context, () => plugin.reset(), snapshot, answers.recording, catches);
  }

  /** Whether another call may use this instance: false when it cannot be put back as it was, or trapped with its state. */
  get usable(): boolean {
    return this.#usable;
  }

  get memoryBytes(): number {
    return memoryOf(this.#exports)?.buffer.byteLength ?? 0;
  }

  /** All that a call which waits keeps others from having. */
  get heldBytes(): number {
    const exceptions = this.#catches ? (this.#state.gauge?.mostExceptions ?? 0) : 0;
    return this.memoryBytes + this.#state.heldBytes + exceptions * MOST_EXCEPTION_BYTES;
  }

  /** Runs an export to its end: nothing else happens in the thread. For a module whose calls never wait. */
  run(exportName: string, call: InstanceCall): CallResult {
    const run = this.#exports[exportName];
    this.#state.begin(call);
    if (typeof run !== "function") return this.#result(missingExport(exportName));
    try {
      return this.#result(this.#outputOf((run as () => unknown)()));
    } catch (error) {
      return this.#result(this.#broken(error));
    }
  }

  /** Runs an export that may wait for host functions. */
  async runWaiting(exportName: string, call: InstanceCall): Promise<CallResult> {
    const run = this.#promisingExport(exportName);
    this.#state.begin(call);
    if (!run) return this.#result(missingExport(exportName));
    try {
      return this.#result(this.#outputOf(await run()));
    } catch (error) {
      return this.#result(this.#broken(error));
    }
  }

  /** Puts the instance back as it was before its first call, or marks it as used up. */
  restore(): void {
    // A module may free the null page, too.
    const isWhole = this.#context.length(0n) === BigInt(this.#nullPage.length);
    this.#usable &&= isWhole && (this.#snapshot?.restore() ?? false);
    this.#state.clearVariables();
    this.freeHostMemory();
    this.#nullPage.fill(0);
  }

  /** Readies a stateful instance for its next call: memory and variables stay. */
  freeHostMemory(): void {
    // Extism's reset does its work before it returns its promise, and cannot fail.
    void this.#resetBlocks();
  }

  #promisingExport(name: string): (() => Promise<unknown>) | undefined {
    const known = this.#promising.get(name);
    const exported = this.#exports[name];
    if (known || typeof exported !== "function") return known;
    const run = promising(exported as () => unknown);
    this.#promising.set(name, run);
    return run;
  }

  #outputOf(code: unknown): Uint8Array | CallFailure {
    const { failure, error, output, limits } = this.#state;
    if (failure) return this.#broken(failure);
    if (error || (typeof code === "number" && code !== 0)) {
      return new CallFailure(
        "HANDLER_FAILED",
        errorText(this.#state, this.#context) || `the handler returned ${String(code)}`,
      );
    }
    return output ? copyRegion(this.#context, output, limits.outputBytes) : new Uint8Array(0);
  }

  /**
   * What was interrupted may be half done. That is for good where state is to stay; a snapshot puts back all the state there is,
   * and spares a plugin that fails at each call a new instance each time, with its garbage.
   */
  #broken(error: unknown): CallFailure {
    this.#usable = this.#snapshot !== undefined;
    return failureOf(error, this.#state, this.#context);
  }

  #result(outcome: Uint8Array | CallFailure): CallResult {
    const { durationMs, executedMs, fuelUsed, logs, call } = this.#state;
    const recording = joinRecordings(this.#startUp, call.answers.recording);
    const figures = {
      durationUs: Math.round(durationMs * 1000),
      executedUs: Math.round(executedMs * 1000),
      logs,
      fuel: fuelUsed,
      memoryBytes: this.memoryBytes,
      ...(recording === undefined ? {} : { recording }),
    };
    const isLate = durationMs > call.timeoutMs;
    if (isLate && (!(outcome instanceof CallFailure) || outcome.code === "TRAPPED")) {
      return failedCall(timedOut(durationMs, call.timeoutMs), figures);
    }
    if (outcome instanceof CallFailure) return failedCall(outcome, figures);
    return { ok: true, output: outcome, ...figures };
  }
}

function joinRecordings(first: CallRecording | undefined, then: CallRecording | undefined): CallRecording | undefined {
  if (!first || !then) return then;
  return { answers: [...first.answers, ...then.answers], truncated: first.truncated || then.truncated };
}

function missingExport(name: string): CallFailure {
  return new CallFailure("HANDLER_GONE", `the plugin exports no function "${name}"`);
}

function startUpCall({ timeoutMs }: PluginLimits, answers: CallAnswers): InstanceCall {
  const none = { turn: undefined, context: undefined, signal: undefined, beforeWait: undefined };
  return { input: new Uint8Array(0), timeoutMs, answers, callId: 0, ...none };
}

/** As Extism does it: a WASI command is not run, only instantiated. */
function startUp(exports: WebAssembly.Exports, gauge: Gauge, fuel: number, usesWasi: boolean): void {
  gauge.begin(fuel);
  const run = (name: string) => {
    const start = exports[name];
    if (typeof start === "function") start();
    return start !== undefined;
  };
  run(meterNames.start);
  if (!run(reservedNames.initialize) && !usesWasi) run(reservedNames.start);
  run(reservedNames.haskellInit);
}

function memoryOf(exports: WebAssembly.Exports): WebAssembly.Memory | undefined {
  const memory = exports[meterNames.memory];
  return memory instanceof WebAssembly.Memory ? memory : undefined;
}
