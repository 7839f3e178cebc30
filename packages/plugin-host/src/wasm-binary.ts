/**
 * Reading and writing the parts of a WASM binary that loading a plugin touches: sections, integers, names, limits and
 * constant expressions (WebAssembly core specification, chapter 5). The input has passed the engine's own validation,
 * so a surprise here means a feature that this code does not know, and throws UnknownEncoding.
 */
export class UnknownEncoding extends Error {
  override readonly name = "UnknownEncoding";
}

export const sectionIds = { import: 2, table: 4, memory: 5, global: 6, export: 7, element: 9, data: 11 } as const;

export interface Section {
  readonly id: number;
  readonly content: Uint8Array;
}

const HEADER_BYTES = 8;

export function readSections(module: Uint8Array): Section[] {
  const sections: Section[] = [];
  const reader = new WasmReader(module, HEADER_BYTES);
  while (!reader.done) {
    const id = reader.byte();
    sections.push({ id, content: reader.bytes(reader.u32()) });
  }
  return sections;
}

export function writeSections(module: Uint8Array, sections: readonly Section[]): Uint8Array<ArrayBuffer> {
  const writer = new WasmWriter();
  writer.raw(module.subarray(0, HEADER_BYTES));
  for (const { id, content } of sections) {
    writer.byte(id);
    writer.u32(content.length);
    writer.raw(content);
  }
  return writer.finish();
}

/** Limits of a memory or a table: flag bit 0 says that there is a maximum, the others name later features. */
export interface WasmLimits {
  readonly flags: number;
  readonly initial: number;
  readonly maximum: number | undefined;
}

export class WasmReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw new UnknownEncoding("the section ends too early");
    return value;
  }

  bytes(count: number): Uint8Array {
    const start = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) throw new UnknownEncoding("the section ends too early");
    return this.#bytes.subarray(start, this.#at);
  }

  rest(): Uint8Array {
    return this.bytes(this.#bytes.length - this.#at);
  }

  /** Unsigned LEB128. */
  u32(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  /** Signed or unsigned LEB128 of any width, passed over. */
  skipInteger(): void {
    while (this.byte() >= 0x80);
  }

  name(): string {
    return new TextDecoder().decode(this.bytes(this.u32()));
  }

  limits(): WasmLimits {
    const flags = this.byte();
    if (flags > 1) throw new UnknownEncoding(`limits of kind ${flags}`);
    const initial = this.u32();
    return { flags, initial, maximum: flags === 1 ? this.u32() : undefined };
  }

  /** Passes over a constant expression and its `end`. */
  skipConstant(): void {
    for (;;) {
      const opcode = this.byte();
      if (opcode === 0x0b) return;
      if (opcode === 0x41 || opcode === 0x42 || opcode === 0x23 || opcode === 0xd2) this.skipInteger();
      else if (opcode === 0x43) this.bytes(4);
      else if (opcode === 0x44) this.bytes(8);
      else if (!isConstantArithmetic(opcode)) throw new UnknownEncoding(`constant instruction ${opcode}`);
    }
  }
}

/** i32 and i64 add, sub and mul, from the extended-constant proposal. */
function isConstantArithmetic(opcode: number): boolean {
  return (opcode >= 0x6a && opcode <= 0x6c) || (opcode >= 0x7c && opcode <= 0x7e);
}

export class WasmWriter {
  readonly #chunks: Uint8Array[] = [];

  byte(value: number): void {
    this.#chunks.push(Uint8Array.of(value));
  }

  raw(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
  }

  /** Unsigned LEB128. */
  u32(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.byte((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.byte(rest);
  }

  name(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u32(bytes.length);
    this.raw(bytes);
  }

  limits(limits: { initial: number; maximum: number }): void {
    this.byte(1);
    this.u32(limits.initial);
    this.u32(limits.maximum);
  }

  finish(): Uint8Array<ArrayBuffer> {
    const length = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const chunk of this.#chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }
}
