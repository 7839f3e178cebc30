const utf8 = new TextEncoder();

/** Below this many bytes a loop is faster than a view and its `set`. */
const LOOP_COPY_BYTES = 48;

/** Bytes that a size written before its content is known takes: LEB128 may be padded. */
const PATCHED_SIZE_BYTES = 5;

/** A growing buffer with the encodings of a WASM binary (core specification, chapter 5). */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(capacityBytes: number) {
    this.#bytes = new Uint8Array(Math.max(capacityBytes, 64));
  }

  get length(): number {
    return this.#length;
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  raw(bytes: Uint8Array): void {
    this.copy(bytes, 0, bytes.length);
  }

  /** Appends `source[start, end)`. */
  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (this.#length + count > this.#bytes.length) this.#reserve(count);
    if (count < LOOP_COPY_BYTES) {
      let to = this.#length;
      for (let from = start; from < end; from++) this.#bytes[to++] = source[from] ?? 0;
    } else {
      this.#bytes.set(source.subarray(start, end), this.#length);
    }
    this.#length += count;
  }

  /** Unsigned LEB128. */
  u32(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a safe integer. */
  signed(value: number): void {
    let rest = value;
    while (rest < -0x40 || rest > 0x3f) {
      this.byte((((rest % 0x80) + 0x80) % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(((rest % 0x80) + 0x80) % 0x80);
  }

  name(text: string): void {
    const bytes = utf8.encode(text);
    this.u32(bytes.length);
    this.raw(bytes);
  }

  /** Leaves room for a size; `endSized` with the returned mark writes it. */
  beginSized(): number {
    const mark = this.#length;
    for (let index = 0; index < PATCHED_SIZE_BYTES; index++) this.byte(0);
    return mark;
  }

  endSized(mark: number): void {
    let rest = this.#length - mark - PATCHED_SIZE_BYTES;
    for (let index = 0; index < PATCHED_SIZE_BYTES; index++) {
      const more = index < PATCHED_SIZE_BYTES - 1 ? 0x80 : 0;
      this.#bytes[mark + index] = (rest & 0x7f) | more;
      rest >>>= 7;
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(count: number): void {
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
