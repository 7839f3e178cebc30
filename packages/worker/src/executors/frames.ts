import { deserialize, serialize } from "node:v8";

/** A longer one is no message of ours: nothing that an executor says comes near. */
const mostFrameBytes = 256 << 20;
const headBytes = 4;

/** A message for a pipe: its length as a little-endian u32, then its structured clone. */
export function encodeFrame(message: unknown): Uint8Array {
  const body = serialize(message);
  const frame = new Uint8Array(headBytes + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, headBytes);
  return frame;
}

/** Puts messages together again from the pieces in which a pipe delivers them. */
export class FrameReader {
  readonly #onMessage: (message: unknown) => void;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(onMessage: (message: unknown) => void) {
    this.#onMessage = onMessage;
  }

  /** @throws RangeError on what is no frame */
  push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    for (;;) {
      if (this.#bytes < headBytes) return;
      const head = this.#join(headBytes);
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0, true);
      if (length > mostFrameBytes) throw new RangeError(`a frame of ${length} bytes`);
      if (this.#bytes < headBytes + length) return;
      const first = this.#join(headBytes + length);
      // Copied: what is taken from it outlives the pipe's buffer.
      const body = first.slice(headBytes, headBytes + length);
      if (first.length === headBytes + length) this.#pieces.shift();
      else this.#pieces[0] = first.subarray(headBytes + length);
      this.#bytes -= headBytes + length;
      this.#onMessage(deserialize(body));
    }
  }

  /** The first piece, made to hold at least so many bytes. */
  #join(least: number): Uint8Array {
    const [first] = this.#pieces;
    if (first !== undefined && first.length >= least) return first;
    const whole = new Uint8Array(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [whole];
    return whole;
  }
}
