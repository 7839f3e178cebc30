import type { ErrorDetail } from "@millrace/protocol";
import { refusedCall, type CallResult } from "./call-result.ts";
import { LimitBreach } from "./call-state.ts";
import { inspectModule } from "./inspect-module.ts";
import { PluginInstance, type InstanceOptions } from "./plugin-instance.ts";
import { resolveLimits, type PluginLimits } from "./plugin-limits.ts";
import { LimitsTooSmall, prepareModule, type PreparedModule } from "./prepare-module.ts";
import { UnknownEncoding } from "./wasm-binary.ts";

export interface LoadOptions {
  /** What is left out, or 0, takes its default. */
  readonly limits?: Partial<PluginLimits>;
  /** Values for the PDK's Config. */
  readonly config?: Readonly<Record<string, string>>;
  /** Keeps one instance, with its memory and variables, from call to call. After a trap or a breach it starts anew. */
  readonly stateful?: boolean;
}

/** The module cannot be loaded. Every reason is in `problems`. */
export class PluginRefused extends Error {
  override readonly name = "PluginRefused";
  readonly problems: readonly ErrorDetail[];

  constructor(problems: readonly ErrorDetail[]) {
    super(problems.map(({ field, reason }) => `${field}: ${reason}`).join("; "));
    this.problems = problems;
  }
}

/**
 * Validates, rewrites and compiles a module, once for all calls.
 * @throws PluginRefused when the module is not one that this host can run within the limits
 */
export async function loadPlugin(module: Uint8Array, options: LoadOptions = {}): Promise<LoadedPlugin> {
  const inspection = await inspectModule(module);
  if (!inspection.ok) throw new PluginRefused(inspection.problems);
  const limits = resolveLimits(options.limits);
  const prepared = prepare(module, limits);
  return new LoadedPlugin({
    module: await WebAssembly.compile(prepared.bytes),
    prepared,
    limits,
    config: new Map(Object.entries(options.config ?? {})),
    stateful: options.stateful ?? false,
  });
}

function prepare(module: Uint8Array, limits: PluginLimits): PreparedModule {
  try {
    return prepareModule(module, limits);
  } catch (error) {
    if (error instanceof LimitsTooSmall) throw new PluginRefused([error.detail]);
    if (error instanceof UnknownEncoding) throw new PluginRefused([{ field: "module", reason: error.message }]);
    throw error;
  }
}

/** A compiled plugin. Calls never overlap: each runs to its end inside the thread that asked. */
export class LoadedPlugin {
  readonly #options: InstanceOptions;
  /** An instance that waits for the next call, as good as new (or with its state, when stateful). */
  #idle: PluginInstance | undefined;
  /** Tail of the calls of a stateful plugin: they share one instance. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: InstanceOptions) {
    this.#options = options;
  }

  get limits(): PluginLimits {
    return this.#options.limits;
  }

  /**
   * Runs an export on an input. Blocks the thread while the module runs; a module that never returns blocks it for
   * good, so calls belong into a thread that can be killed.
   */
  call(exportName: string, input: Uint8Array, options: { timeoutMs?: number } = {}): Promise<CallResult> {
    if (!this.#options.stateful) return this.#run(exportName, input, options.timeoutMs);
    const result = this.#turn.then(() => this.#run(exportName, input, options.timeoutMs));
    this.#turn = result;
    return result;
  }

  async #run(exportName: string, input: Uint8Array, timeoutMs: number | undefined): Promise<CallResult> {
    const { limits, stateful } = this.#options;
    if (input.length > limits.inputBytes) {
      return refusedCall("HOST_DENIED", `input of ${input.length} bytes; the limit is ${limits.inputBytes}`);
    }
    const instance = this.#takeIdle() ?? (await this.#createInstance());
    if (!(instance instanceof PluginInstance)) return instance;
    const result = instance.run(exportName, input, Math.min(timeoutMs ?? limits.timeoutMs, limits.timeoutMs));
    if (stateful) instance.freeHostMemory();
    else instance.restore();
    if (instance.usable) this.#idle = instance;
    return result;
  }

  #takeIdle(): PluginInstance | undefined {
    const instance = this.#idle;
    this.#idle = undefined;
    return instance;
  }

  async #createInstance(): Promise<PluginInstance | CallResult> {
    try {
      return await PluginInstance.create(this.#options);
    } catch (error) {
      if (error instanceof LimitBreach) return refusedCall(error.code, `at start-up: ${error.message}`);
      // Out of address space or a trap in the module's start function: either way the call did not happen.
      return refusedCall("TRAPPED", `at start-up: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
