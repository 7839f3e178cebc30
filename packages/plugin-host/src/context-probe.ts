import type { CallContext } from "@extism/extism";
import { reservedPrefix } from "./reserved-names.ts";

/**
 * Gets hold of Extism's CallContext when it links the host functions, by standing in for `Function.prototype.bind`:
 * a module that calls none of our functions would otherwise never show it.
 */
export class ContextProbe {
  readonly namespace = `${reservedPrefix}link`;
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
