import { EXCEPTIONS_PER_DEPTH } from "./function-plan.ts";
import { reservedNames } from "./reserved-names.ts";

/** Limits that a metered module was made with, as in its report. */
export interface GaugeLimits {
  readonly memoryPages: number;
  readonly tableEntries: number;
  readonly callDepth: number;
}

/** The limit that a call ran into. Fuel and its limit in units, memory in pages of 64 KiB, tables in entries. */
export type Breach =
  | { readonly code: "OUT_OF_FUEL"; readonly used: number; readonly limit: number }
  | {
      readonly code: "OUT_OF_MEMORY";
      readonly what: "memory" | "table";
      readonly wanted: number;
      readonly limit: number;
    }
  | { readonly code: "CALL_DEPTH"; readonly limit: number };

/** Fuel beyond this is as good as endless, and leaves room below zero for the charge that finds it used up. */
export const MAX_FUEL = Number.MAX_SAFE_INTEGER;

/**
 * The fuel and the call depth of one instance of a metered module. Call `begin` before each call from outside, not when a
 * host function calls back into the instance.
 */
export class Gauge {
  readonly #fuel: WebAssembly.Global;
  readonly #depth: WebAssembly.Global;
  readonly #refused: WebAssembly.Global;
  readonly #limits: GaugeLimits;
  readonly #callDepth: bigint;
  #fuelLimit = 0;

  /** @throws TypeError for the exports of a module that was not metered */
  constructor(exports: WebAssembly.Exports, limits: GaugeLimits) {
    this.#fuel = globalExport(exports, reservedNames.fuel);
    this.#depth = globalExport(exports, reservedNames.depth);
    this.#refused = globalExport(exports, reservedNames.refused);
    this.#limits = limits;
    this.#callDepth = BigInt(limits.callDepth);
  }

  /** Gives the next call this much fuel and the whole call depth. */
  begin(fuel: number): void {
    if (!Number.isSafeInteger(fuel) || fuel < 0) throw new RangeError(`fuel must be an integer from 0 to ${MAX_FUEL}`);
    this.#fuelLimit = fuel;
    this.#fuel.value = BigInt(fuel);
    this.#depth.value = this.#callDepth;
    this.#refused.value = 0n;
  }

  /** Negative when it has run out: by less than the charges between two checks. */
  get fuelLeft(): number {
    return Number(this.#fuel.value);
  }

  /**
   * Since `begin`. After a trap that is neither `unreachable` nor out of fuel, a function with loops has not written back what
   * it used since its last call.
   */
  get fuelUsed(): number {
    return this.#fuelLimit - this.fuelLeft;
  }

  /** Exceptions that the frames of a call which is inside a host function may hold, where the module catches any. */
  get mostExceptions(): number {
    const taken = this.#limits.callDepth - Number(this.#depth.value);
    return (taken + 1) * EXCEPTIONS_PER_DEPTH;
  }

  /** Charges a host function's own work. The instance stops at its next check when there is none left. */
  charge(fuel: number): void {
    this.#fuel.value = BigInt(this.fuelLeft - fuel);
  }

  /**
   * Says which limit a failed call ran into; undefined when the failure is the module's own. A refused grow counts when it was
   * the last one before the failure: the guest was told -1, and gave up.
   */
  breachOf(error: unknown): Breach | undefined {
    const { callDepth, memoryPages, tableEntries } = this.#limits;
    if (BigInt(this.#depth.value as bigint) < 0n || isStackOverflow(error))
      return { code: "CALL_DEPTH", limit: callDepth };
    if (this.fuelLeft < 0) return { code: "OUT_OF_FUEL", used: this.fuelUsed, limit: this.#fuelLimit };
    const refused = Number(this.#refused.value);
    if (refused > 0) return { code: "OUT_OF_MEMORY", what: "memory", wanted: refused, limit: memoryPages };
    if (refused < 0) return { code: "OUT_OF_MEMORY", what: "table", wanted: -refused, limit: tableEntries };
    return undefined;
  }
}

/** The engine's own stack may end before the counted depth, when frames are large. */
function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && /call stack/i.test(error.message);
}

function globalExport(exports: WebAssembly.Exports, name: string): WebAssembly.Global {
  const global = exports[name];
  if (global instanceof WebAssembly.Global) return global;
  throw new TypeError(`the module does not export ${name}: it was not metered`);
}
