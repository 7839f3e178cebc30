import type { CallContext } from "@extism/extism";
import { failedCall, type CallResult } from "./call-result.ts";
import { CallState, LimitBreach } from "./call-state.ts";
import { copyRegion, extismFunctions } from "./extism-functions.ts";
import { InstanceSnapshot } from "./instance-snapshot.ts";
import type { PluginLimits } from "./plugin-limits.ts";
import type { PreparedModule } from "./prepare-module.ts";
import { reservedNames } from "./reserved-names.ts";
import { wasiFunctions } from "./wasi-functions.ts";

export interface InstanceOptions {
  readonly module: WebAssembly.Module;
  readonly prepared: PreparedModule;
  readonly limits: PluginLimits;
  readonly config: ReadonlyMap<string, string>;
  readonly stateful: boolean;
}

const MAX_ERROR_BYTES = 8192;
const PAGE_BYTES = 65_536;

/** One live instance of a plugin's module. Running an export is synchronous: nothing else happens in the thread. */
export class PluginInstance {
  readonly #exports: WebAssembly.Exports;
  readonly #state: CallState;
  readonly #context: CallContext;
  readonly #memory: WebAssembly.Memory | undefined;
  readonly #resetBlocks: () => Promise<boolean>;
  readonly #snapshot: InstanceSnapshot | undefined;
  #usable = true;

  private constructor(
    exports: WebAssembly.Exports,
    state: CallState,
    context: CallContext,
    resetBlocks: () => Promise<boolean>,
    snapshot: InstanceSnapshot | undefined,
  ) {
    this.#exports = exports;
    this.#state = state;
    this.#context = context;
    this.#memory = memoryOf(exports);
    this.#resetBlocks = resetBlocks;
    this.#snapshot = snapshot;
  }

  /** @throws what the module's start-up throws */
  static async create({ module, prepared, limits, config, stateful }: InstanceOptions): Promise<PluginInstance> {
    const state = new CallState(limits);
    state.begin(new Uint8Array(0), limits.timeoutMs);
    const link = new ContextProbe();
    let exports: WebAssembly.Exports = {};
    const wasiImports = WebAssembly.Module.imports(module).filter((item) => item.module === reservedNames.wasi);
    const functions = {
      [reservedNames.host]: extismFunctions(state, config),
      [reservedNames.wasi]: wasiFunctions(
        state,
        () => memoryOf(exports),
        wasiImports.map((item) => item.name),
      ),
      [link.namespace]: link.functions,
    };
    // At first use: the import loads node:wasi, which warns, and a process that only inspects modules needs neither.
    const { createPlugin } = await import("@extism/extism");
    const plugin = await createPlugin({ wasm: [{ module }] }, { functions, runInWorker: false });
    exports = (await plugin.getInstance()).exports;
    // As Extism does: a WASI command is not run, only instantiated.
    startUp(exports, prepared.usesWasi);
    const snapshot = stateful ? undefined : InstanceSnapshot.take(exports, prepared);
    // What start-up left in host memory would be there for the first call only.
    await plugin.reset();
    if (!stateful) state.clearVariables();
    return new PluginInstance(exports, state, link.context, () => plugin.reset(), snapshot);
  }

  /** Whether another call may use this instance: false after a trap, and when it cannot be put back as it was. */
  get usable(): boolean {
    return this.#usable;
  }

  run(exportName: string, input: Uint8Array, timeoutMs: number): CallResult {
    const run = this.#exports[exportName];
    const startedAt = performance.now();
    this.#state.begin(input, timeoutMs);
    const result = typeof run === "function" ? this.#invoke(run as () => unknown) : missingExport(exportName);
    const durationMs = performance.now() - startedAt;
    const logs = this.#state.takeLogs();
    const durationUs = Math.round(durationMs * 1000);
    if (durationMs > timeoutMs && (!(result instanceof LimitBreach) || result.code === "TRAPPED")) {
      return failedCall("TIMED_OUT", `took ${Math.round(durationMs)} ms; the limit is ${timeoutMs} ms`, {
        durationUs,
        logs,
      });
    }
    if (result instanceof LimitBreach) return failedCall(result.code, result.message, { durationUs, logs });
    return { ok: true, output: result, durationUs, logs };
  }

  /** Puts the instance back as it was before its first call, or marks it as used up. */
  restore(): void {
    const scratch = this.#context.read(0n);
    this.#usable &&= scratch !== null && (this.#snapshot?.restore() ?? false);
    this.#state.clearVariables();
    this.#freeBlocks();
    // Block 0 is Extism's null page: one byte that a module can write to and that a reset leaves alone.
    if (scratch) scratch.bytes().fill(0);
  }

  /** Readies a stateful instance for its next call: memory and variables stay. */
  freeHostMemory(): void {
    this.#freeBlocks();
  }

  #freeBlocks(): void {
    // Extism's reset does its work before it returns its promise, and cannot fail.
    void this.#resetBlocks();
  }

  #invoke(run: () => unknown): Uint8Array | LimitBreach {
    try {
      const code = run();
      const { breach, error, output, limits } = this.#state;
      if (breach) {
        this.#usable = false;
        return breach;
      }
      if (error || (typeof code === "number" && code !== 0)) {
        return new LimitBreach("HANDLER_FAILED", this.#errorText() ?? `the handler returned ${String(code)}`);
      }
      return output ? copyRegion(this.#context, output, limits.outputBytes) : new Uint8Array(0);
    } catch (error) {
      // Whatever was interrupted may be half done.
      this.#usable = false;
      return this.#state.breach ?? this.#trap(error);
    }
  }

  #trap(error: unknown): LimitBreach {
    const reason = error instanceof Error ? error.message : "an exception that the plugin did not catch";
    const text = this.#errorText();
    const pages = (this.#memory?.buffer.byteLength ?? 0) / PAGE_BYTES;
    const { memoryPages } = this.#state.limits;
    // A refused memory.grow is seen by the module only, which then gives up. A trap close to the limit means just that.
    if (pages >= memoryPages - memoryPages / 16) {
      const figure = `${pages} pages of memory taken; the limit is ${memoryPages}`;
      return new LimitBreach("OUT_OF_MEMORY", `${figure} (${text ?? reason})`);
    }
    return new LimitBreach("TRAPPED", text === undefined ? reason : `${reason}: ${text}`);
  }

  #errorText(): string | undefined {
    const { error } = this.#state;
    if (!error) return undefined;
    try {
      return new TextDecoder().decode(copyRegion(this.#context, error, MAX_ERROR_BYTES));
    } catch {
      return "the plugin's error message is gone: it freed the block";
    }
  }
}

function missingExport(name: string): LimitBreach {
  return new LimitBreach("HANDLER_GONE", `the plugin exports no function "${name}"`);
}

function memoryOf(exports: WebAssembly.Exports): WebAssembly.Memory | undefined {
  const memory = exports[reservedNames.memory];
  return memory instanceof WebAssembly.Memory ? memory : undefined;
}

function startUp(exports: WebAssembly.Exports, usesWasi: boolean): void {
  const initialize = exports[reservedNames.initialize];
  const start = exports[reservedNames.start];
  if (typeof initialize === "function") initialize();
  else if (typeof start === "function" && !usesWasi) start();
}

/**
 * Gets hold of Extism's CallContext when it links the host functions, by standing in for `Function.prototype.bind`:
 * a module that calls none of our functions would otherwise never show it.
 */
class ContextProbe {
  readonly namespace = `${reservedNames.host}:link`;
  readonly functions: Record<string, () => void>;
  #context: CallContext | undefined;

  constructor() {
    const probe = () => {};
    const bind = (_this: unknown, context: CallContext) => {
      this.#context = context;
      return probe;
    };
    this.functions = { probe: Object.assign(probe, { bind }) };
  }

  get context(): CallContext {
    if (!this.#context) throw new Error("Extism linked no host functions");
    return this.#context;
  }
}
