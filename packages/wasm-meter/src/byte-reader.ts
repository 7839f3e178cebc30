import { ModuleRefused } from "./module-refused.ts";

/** A byte order mark is part of a name: without it, two names could become one. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Reads one section of a WASM binary (core specification, chapter 5). The bytes have passed the engine's validation, so an
 * end that comes too early means an encoding that this reader does not know.
 */
export class ByteReader {
  /** Offset of the next byte, from the start of the file. */
  at: number;
  readonly section: string;
  readonly #bytes: Uint8Array;
  readonly #end: number;

  constructor(bytes: Uint8Array, section: string, start: number, end: number) {
    this.#bytes = bytes;
    this.section = section;
    this.at = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.at >= this.#end;
  }

  byte(): number {
    return this.#bytes[this.at++] ?? this.#endsTooEarly();
  }

  peek(): number {
    return this.#bytes[this.at] ?? this.#endsTooEarly();
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    const first = this.byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    for (let scale = 0x80; ; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  /** Passes over a LEB128 integer of any width and sign. */
  skipInteger(): void {
    while (this.byte() >= 0x80);
  }

  skip(count: number): void {
    this.at += count;
    if (this.at > this.#end) this.#endsTooEarly();
  }

  name(): string {
    const length = this.u32();
    const start = this.at;
    this.skip(length);
    return utf8.decode(this.#bytes.subarray(start, this.at));
  }

  /** The count in front of a vector, held against a bound. */
  count(bound: number, what: string): number {
    const at = this.at;
    const count = this.u32();
    if (count > bound)
      throw new ModuleRefused("TOO_LARGE", this.section, at, `${count} ${what}; the bound is ${bound}`);
    return count;
  }

  unsupported(at: number, what: string): ModuleRefused {
    return new ModuleRefused("UNSUPPORTED", this.section, at, `${what} is not supported`);
  }

  #endsTooEarly(): never {
    throw new ModuleRefused("INVALID", this.section, Math.min(this.at, this.#end), "the section ends too early");
  }
}
