import type { Writable } from "node:stream";
import { deserialize, serialize } from "node:v8";

/** A longer one is no message of ours: nothing that an executor says comes near. */
const mostFrameBytes = 256 << 20;
const headBytes = 4;

/** Writes a message to a pipe: its length as a little-endian u32, then its structured clone. */
export function writeFrame(pipe: Pick<Writable, "write" | "cork" | "uncork">, message: unknown): void {
  const body = serialize(message);
  const head = new Uint8Array(headBytes);
  new DataView(head.buffer).setUint32(0, body.length, true);
  // They leave together, and a module of megabytes is not copied for it.
  pipe.cork();
  pipe.write(head);
  pipe.write(body);
  pipe.uncork();
}

/**
 * Puts messages together again from the pieces in which a pipe delivers them. Pieces are copied at once: each may hold on to a
 * buffer many times its length.
 */
export class FrameReader {
  readonly #onMessage: (message: unknown, buffer: ArrayBuffer) => void;
  readonly #head = new Uint8Array(headBytes);
  #headFilled = 0;
  /** Of the message that is arriving, once its length is known. */
  #body: Uint8Array<ArrayBuffer> | undefined;
  #bodyFilled = 0;

  /** @param onMessage gets the buffer too that the message's bytes are views of, to be passed on without a copy */
  constructor(onMessage: (message: unknown, buffer: ArrayBuffer) => void) {
    this.#onMessage = onMessage;
  }

  /** @throws RangeError on what is no frame */
  push(piece: Uint8Array): void {
    for (let rest = piece; rest.length > 0;) {
      if (this.#body === undefined) {
        const part = rest.subarray(0, headBytes - this.#headFilled);
        this.#head.set(part, this.#headFilled);
        this.#headFilled += part.length;
        rest = rest.subarray(part.length);
        if (this.#headFilled < headBytes) return;
        this.#begin(new DataView(this.#head.buffer).getUint32(0, true));
      } else {
        const body = this.#body;
        const part = rest.subarray(0, body.length - this.#bodyFilled);
        body.set(part, this.#bodyFilled);
        this.#bodyFilled += part.length;
        rest = rest.subarray(part.length);
        if (this.#bodyFilled < body.length) return;
        this.#body = undefined;
        this.#onMessage(deserialize(body), body.buffer);
      }
    }
  }

  #begin(length: number): void {
    if (length === 0 || length > mostFrameBytes) throw new RangeError(`a frame of ${length} bytes`);
    this.#headFilled = 0;
    this.#body = new Uint8Array(length);
    this.#bodyFilled = 0;
  }
}
