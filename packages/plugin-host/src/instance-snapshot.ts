import { reservedNames, type StateReport } from "@millrace/wasm-meter";

/** The first state of an instance, to go back to after a call. Sound only because StateReport names all the state there is. */
export class InstanceSnapshot {
  readonly #memory: WebAssembly.Memory | undefined;
  readonly #bytes: number;
  /** What memory begins with, up to its last byte that is not zero. */
  readonly #head: Uint8Array;
  readonly #globals: readonly { readonly global: WebAssembly.Global; readonly value: unknown }[];

  private constructor(memory: WebAssembly.Memory | undefined, globals: readonly WebAssembly.Global[]) {
    this.#memory = memory;
    const bytes = new Uint8Array(memory?.buffer ?? new ArrayBuffer(0));
    this.#bytes = bytes.length;
    this.#head = bytes.slice(0, bytes.findLastIndex((byte) => byte !== 0) + 1);
    this.#globals = globals.map((global) => ({ global, value: global.value }));
  }

  /** Returns undefined when the instance cannot be restored, or not for less than a new one costs. */
  static take(exports: WebAssembly.Exports, state: StateReport): InstanceSnapshot | undefined {
    if (!state.restorable) return undefined;
    const memory = state.memory ? memoryOf(exports) : undefined;
    if (memory && memory.buffer.byteLength > MAX_SNAPSHOT_BYTES) return undefined;
    return new InstanceSnapshot(
      memory,
      state.globals.map((index) => globalExport(exports, index)),
    );
  }

  /** Returns false when the call has changed what cannot be put back: memory never shrinks. */
  restore(): boolean {
    if (this.#memory) {
      if (this.#memory.buffer.byteLength !== this.#bytes) return false;
      const bytes = new Uint8Array(this.#memory.buffer);
      bytes.set(this.#head);
      // Filling costs a third of copying, and most of a memory is zero.
      bytes.fill(0, this.#head.length);
    }
    for (const { global, value } of this.#globals) global.value = value;
    return true;
  }
}

/** Beyond this, putting memory back costs as much as a fresh instance. */
const MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024;

/** The memory of a prepared module. */
export function memoryOf(exports: WebAssembly.Exports): WebAssembly.Memory | undefined {
  const memory = exports[reservedNames.memory];
  return memory instanceof WebAssembly.Memory ? memory : undefined;
}

function globalExport(exports: WebAssembly.Exports, index: number): WebAssembly.Global {
  const global = exports[reservedNames.global(index)];
  if (global instanceof WebAssembly.Global) return global;
  throw new TypeError(`the prepared module does not export its global ${index}`);
}
