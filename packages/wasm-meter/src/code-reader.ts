import { ByteReader } from "./byte-reader.ts";
import type { Feature } from "./module-shape.ts";
import { EMPTY_BLOCK } from "./opcodes.ts";
import { isValueType } from "./read-types.ts";

/** A memory access whose alignment has this bit names one of several memories. */
const MEMORY_INDEX_BIT = 64;

/** Reads the immediates of instructions that are more than an integer, and notes the features that they show. */
export class CodeReader extends ByteReader {
  readonly #maxLabels: number;
  readonly #features: Set<Feature>;

  constructor(bytes: Uint8Array, start: number, end: number, maxLabels: number, features: Set<Feature>) {
    super(bytes, "code", start, end);
    this.#maxLabels = maxLabels;
    this.#features = features;
  }

  /** Returns the index of its function type, or the negated byte of its only result or of EMPTY_BLOCK. */
  blockType(): number {
    const at = this.at;
    const first = this.peek();
    if (first === EMPTY_BLOCK || isValueType(first)) {
      this.skip(1);
      return -first;
    }
    // An index is a positive signed LEB128; single bytes from 0x40 on are types.
    if (first >= 0x40 && first < 0x80) throw this.unsupported(at, "a typed reference (garbage collection)");
    this.#features.add("multi-value");
    return this.u32();
  }

  memoryArgument(): void {
    const at = this.at;
    if (this.u32() >= MEMORY_INDEX_BIT) throw this.unsupported(at, "an access to a second memory");
    this.skipInteger();
  }

  /** The labels of a br_table: how many they are, and the outermost. */
  labels(): { readonly count: number; readonly outermost: number } {
    const count = this.count(this.#maxLabels, "labels of a br_table") + 1;
    let outermost = 0;
    for (let left = count; left > 0; left--) outermost = Math.max(outermost, this.u32());
    return { count, outermost };
  }

  /** The catch clauses of a try_table; labels count from outside of it. Returns the outermost. */
  catches(): number {
    let outermost = 0;
    for (let left = this.count(this.#maxLabels, "catch clauses"); left > 0; left--) {
      const at = this.at;
      const kind = this.byte();
      if (kind > 3) throw this.unsupported(at, `a catch clause of kind ${kind}`);
      if (kind < 2) this.skipInteger();
      outermost = Math.max(outermost, this.u32());
    }
    return outermost;
  }

  /** The rest of the SIMD instruction that begins at `at`. */
  simdInstruction(at: number): void {
    const code = this.u32();
    // Loads and stores; a constant or the lanes of a shuffle; one lane; one lane of a load or store.
    if (code <= 11 || code === 92 || code === 93) this.memoryArgument();
    else if (code === 12 || code === 13) this.skip(16);
    else if (code >= 21 && code <= 34) this.skip(1);
    else if (code >= 84 && code <= 91) {
      this.memoryArgument();
      this.skip(1);
    } else if (code > 255) throw this.unsupported(at, "a relaxed SIMD instruction");
    this.#features.add("simd");
  }
}
