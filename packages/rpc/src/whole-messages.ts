import type { BodyWatch, PendingBody } from "./body-watch.ts";

/** Where the messages of a body end. */
export interface MessageEnds {
  /** @returns bytes of this chunk up to the last end of a message in it; 0 where none ends */
  after(chunk: Uint8Array): number;
  /** What comes is refused whatever follows: it need not be waited for. */
  readonly hopeless: boolean;
}

export const headBytes = 5;

/** Of messages in envelopes, as gRPC and Connect frame them: one byte of flags, four of the size. */
export function envelopeEnds(maxBytes: number): MessageEnds {
  let head = 0;
  let left = 0;
  let hopeless = false;
  return {
    get hopeless() {
      return hopeless;
    },
    after(chunk) {
      let end = 0;
      for (let at = 0; at < chunk.byteLength;) {
        if (head < headBytes) {
          left = head === 0 ? 0 : left * 256 + (chunk[at] ?? 0);
          head += 1;
          at += 1;
          hopeless ||= head === headBytes && left > maxBytes;
        } else {
          const step = Math.min(left, chunk.byteLength - at);
          left -= step;
          at += step;
        }
        if (head === headBytes && left === 0) {
          head = 0;
          end = at;
        }
      }
      return end;
    },
  };
}

/** Of lines. */
export function lineEnds(maxBytes: number): MessageEnds {
  let length = 0;
  return {
    get hopeless() {
      return length > maxBytes;
    },
    after(chunk) {
      const end = chunk.lastIndexOf(0x0a) + 1;
      length = (end > 0 ? 0 : length) + chunk.byteLength - end;
      return end;
    },
  };
}

/** Bytes of a message that is not whole, in room that doubles: a message in tiny chunks costs no more than one in large ones. */
class Remainder {
  #room = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(bytes: Uint8Array): void {
    const wanted = this.#length + bytes.byteLength;
    if (wanted > this.#room.byteLength) {
      const room = Buffer.allocUnsafe(Math.max(wanted, 2 * this.#room.byteLength));
      this.#room.copy(room, 0, 0, this.#length);
      this.#room = room;
    }
    this.#room.set(bytes, this.#length);
    this.#length = wanted;
  }

  take(): Uint8Array {
    const bytes = this.#room.subarray(0, this.#length);
    this.#room = Buffer.alloc(0);
    this.#length = 0;
    return bytes;
  }
}

/**
 * The same bytes, given on where messages end: whoever reads them has nothing to put together piece by piece.
 * @param watch bounds each message while it comes, where nobody bounds the body: between messages a caller may take its time
 * @throws ConnectError from the iteration when a message comes too slowly, or too much is held
 */
export async function* wholeMessages(
  source: AsyncIterable<Uint8Array>,
  ends: MessageEnds,
  watch?: BodyWatch,
): AsyncGenerator<Uint8Array> {
  const remainder = new Remainder();
  const held: PendingBody = { since: 0, heldBytes: 0, refuse: () => {} };
  const iterator = source[Symbol.asyncIterator]();
  // Of the message that is on its way; while others are read nobody waits for it.
  let waitedMs = 0;
  try {
    while (true) {
      const startedAt = performance.now();
      const next =
        remainder.length === 0 ? iterator.next() : (watch?.within(iterator.next(), waitedMs) ?? iterator.next());
      const { done, value } = await next;
      waitedMs = remainder.length === 0 ? 0 : waitedMs + performance.now() - startedAt;
      if (done === true) break;
      const end = ends.hopeless ? value.byteLength : ends.after(value);
      if (end > 0 || ends.hopeless) {
        watch?.release(held);
        waitedMs = 0;
      }
      if (ends.hopeless) {
        remainder.add(value);
        yield remainder.take();
        continue;
      }
      if (end > 0) {
        const whole = value.subarray(0, end);
        if (remainder.length === 0) yield whole;
        else {
          remainder.add(whole);
          yield remainder.take();
        }
      }
      const tail = value.subarray(end);
      if (tail.byteLength === 0) continue;
      const full = watch?.hold(held, tail.byteLength);
      if (full !== undefined) throw full;
      remainder.add(tail);
    }
    if (remainder.length > 0) yield remainder.take();
  } finally {
    watch?.release(held);
    // Not waited for: it comes after what is still being read, which may never come.
    void iterator.return?.().then(undefined, () => {});
  }
}
