/** Something that a peer reads from: a socket, or a stream of HTTP/2. */
export interface Writer {
  readonly writableLength: number;
  readonly writableEnded: boolean;
  readonly writableFinished: boolean;
  once(event: "close", listener: () => void): unknown;
}

export interface SlowReaderLimits {
  /** Peers have so long for whatever they are sent, ms, */
  readonly graceMs: number;
  /** and longer for what is large: bytes for each second. */
  readonly bytesPerSecond: number;
}

interface Watched {
  readonly cut: () => void;
  /** Bytes that waited when the time began, and the fewest since; 0 while none wait. */
  start: number;
  fewest: number;
  until: number;
}

const sweepMs = 1_000;

/**
 * Cuts peers off that leave lying what they asked for. One that takes less than half of what waits in its time is not reading
 * but holding. Looks at all of them each second: most have nothing waiting, and cost nothing else.
 */
export class SlowReaders implements Disposable {
  readonly #limits: SlowReaderLimits;
  readonly #onCut: () => void;
  readonly #watched = new Map<Writer, Watched>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(limits: SlowReaderLimits, onCut: () => void) {
    this.#limits = limits;
    this.#onCut = onCut;
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    this.#sweeper.unref();
  }

  watch(writer: Writer, cut: () => void): void {
    this.#watched.set(writer, { cut, start: 0, fewest: 0, until: 0 });
    writer.once("close", () => this.#watched.delete(writer));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [writer, watched] of this.#watched) {
      const waiting = waitingBytes(writer);
      if (waiting === 0) {
        watched.start = 0;
        continue;
      }
      watched.fewest = Math.min(watched.fewest, waiting);
      if (watched.start > 0 && now < watched.until) continue;
      if (watched.start > 0 && watched.fewest > watched.start / 2) {
        this.#watched.delete(writer);
        this.#onCut();
        watched.cut();
        continue;
      }
      watched.start = watched.fewest = waiting;
      watched.until = now + this.#limits.graceMs + (waiting / this.#limits.bytesPerSecond) * 1000;
    }
  }
}

// The end of a stream waits for its peer like a byte.
function waitingBytes({ writableLength, writableEnded, writableFinished }: Writer): number {
  return writableLength > 0 ? writableLength : Number(writableEnded && !writableFinished);
}
