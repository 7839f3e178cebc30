import type { StateReport } from "./module-report.ts";
import { reservedNames } from "./reserved-names.ts";

/**
 * The first state of an instance, to go back to after a call: less work than a new instance, as long as the memory is small.
 * Sound because the report's state names all that a call can change. For modules metered with `exportState`.
 */
export class InstanceSnapshot {
  readonly #memory: WebAssembly.Memory | undefined;
  readonly #memoryBytes: number;
  /** Up to the last word that is not 0: fresh memory is mostly that, and filling is faster than copying. */
  readonly #bytes: Uint8Array;
  readonly #globals: readonly { readonly global: WebAssembly.Global; readonly value: unknown }[];

  private constructor(memory: WebAssembly.Memory | undefined, globals: readonly WebAssembly.Global[]) {
    this.#memory = memory;
    const buffer = memory?.buffer ?? new ArrayBuffer(0);
    this.#memoryBytes = buffer.byteLength;
    this.#bytes = new Uint8Array(buffer).slice(0, usedBytes(buffer));
    this.#globals = globals.map((global) => ({ global, value: global.value as unknown }));
  }

  /**
   * @param maxBytes of memory; beyond some 2 MiB, copying costs as much as a new instance
   * @returns undefined when the instance cannot be restored, or its memory is larger
   * @throws TypeError when the module was metered without `exportState`
   */
  static take(exports: WebAssembly.Exports, state: StateReport, maxBytes: number): InstanceSnapshot | undefined {
    if (!state.restorable) return undefined;
    const memory = state.memory ? memoryExport(exports) : undefined;
    if (memory && memory.buffer.byteLength > maxBytes) return undefined;
    return new InstanceSnapshot(
      memory,
      state.globals.map((index) => globalExport(exports, index)),
    );
  }

  /** Returns false when the instance cannot go back: its memory has grown, and never shrinks. */
  restore(): boolean {
    if (this.#memory) {
      if (this.#memory.buffer.byteLength !== this.#memoryBytes) return false;
      const bytes = new Uint8Array(this.#memory.buffer);
      bytes.set(this.#bytes);
      bytes.fill(0, this.#bytes.length);
    }
    for (const { global, value } of this.#globals) global.value = value;
    return true;
  }
}

/** A memory's size is a multiple of 64 KiB, so it is whole words. */
function usedBytes(buffer: ArrayBufferLike): number {
  const words = new Int32Array(buffer);
  let used = words.length;
  while (used > 0 && words[used - 1] === 0) used--;
  return used * words.BYTES_PER_ELEMENT;
}

function memoryExport(exports: WebAssembly.Exports): WebAssembly.Memory {
  const memory = exports[reservedNames.memory];
  if (memory instanceof WebAssembly.Memory) return memory;
  throw new TypeError("the module does not export its memory: it was metered without exportState");
}

function globalExport(exports: WebAssembly.Exports, index: number): WebAssembly.Global {
  const global = exports[reservedNames.global(index)];
  if (global instanceof WebAssembly.Global) return global;
  throw new TypeError(`the module does not export its global ${index}: it was metered without exportState`);
}
