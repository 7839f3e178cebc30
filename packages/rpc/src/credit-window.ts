/** Frames one side may have under way in one direction before the other has to take some. */
export const windowFrames = 32;

/** The sender's half of a window: waits when it is used up. */
export class SendWindow {
  #credit = windowFrames;
  #closed = false;
  #wake: (() => void) | undefined;

  /** Resolves true when a frame may go, false when the stream is over. */
  async take(): Promise<boolean> {
    while (this.#credit === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#closed) return false;
    this.#credit -= 1;
    return true;
  }

  grant(count: number): void {
    // A peer cannot widen the window beyond its size.
    this.#credit = Math.min(windowFrames, this.#credit + Math.max(0, count));
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }
}

type Item =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly frames: number }
  | { readonly kind: "end"; readonly error: unknown };

/** The receiver's half: puts pieces together, hands messages on one at a time, and grants credit for what is taken. */
export class ReceiveWindow implements AsyncIterable<Uint8Array> {
  readonly #items: Item[] = [];
  readonly #grant: (count: number) => void;
  readonly #maxBytes: number;
  readonly #onLeave: () => void;
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;
  #held = 0;
  #owed = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  /** @param onLeave the consumer stopped before the end */
  constructor(options: { grant: (count: number) => void; maxBytes: number; onLeave?: () => void }) {
    this.#grant = options.grant;
    this.#maxBytes = options.maxBytes;
    this.#onLeave = options.onLeave ?? (() => {});
  }

  /** @returns false when the peer has broken the window or the size limit */
  accept(bytes: Uint8Array, last: boolean): boolean {
    if (this.#ended) return true;
    this.#held += 1;
    this.#pieceBytes += bytes.byteLength;
    if (this.#pieceBytes > this.#maxBytes) return false;
    if (!last) {
      this.#pieces.push(bytes.slice());
      // A piece cannot be consumed on its own; holding its credit back would stop large messages for good.
      this.#held -= 1;
      this.#owe(1);
      return true;
    }
    if (this.#held > windowFrames) return false;
    const whole = this.#pieces.length === 0 ? bytes.slice() : Buffer.concat([...this.#pieces, bytes]);
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#items.push({ kind: "bytes", bytes: whole, frames: 1 });
    this.#wake?.();
    return true;
  }

  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#items.push({ kind: "end", error });
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    let finished = false;
    try {
      while (true) {
        const item = this.#items.shift();
        if (item === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        if (item.kind === "end") {
          finished = true;
          if (item.error !== undefined) throw item.error;
          return;
        }
        this.#held -= item.frames;
        this.#owe(item.frames);
        yield item.bytes;
      }
    } finally {
      if (!finished) this.#onLeave();
    }
  }

  #owe(frames: number): void {
    this.#owed += frames;
    // Half a window at a time: one credit frame for many messages.
    if (this.#owed < windowFrames / 2 || this.#ended) return;
    this.#grant(this.#owed);
    this.#owed = 0;
  }
}
