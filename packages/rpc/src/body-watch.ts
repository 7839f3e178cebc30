import { Code, ConnectError } from "@connectrpc/connect";

export interface BodyLimits {
  /** A body that is read whole must be there after so long, ms. */
  readonly timeoutMs: number;
  /** Bytes of bodies that are not whole yet, of all requests. */
  readonly maxHeldBytes: number;
  /** Told of every body that was not taken. */
  readonly onRefused?: (reason: "slow_body" | "body_size" | "overloaded") => void;
}

/** A body that is on its way. */
export interface PendingBody {
  readonly since: number;
  heldBytes: number;
  /** Ends the wait. */
  refuse(error: ConnectError): void;
}

/** A request whose answer is out before its body was read. */
interface Unread {
  on(event: "data", listener: (chunk: Uint8Array) => void): unknown;
  once(event: "close", listener: () => void): unknown;
  pause(): unknown;
  /** Of the connection too. */
  destroy(): unknown;
}

const sweepMs = 1_000;
/** A caller that was refused may send so much more: many read the answer only then. */
const maxDroppedBytes = 16 * 1024 * 1024;
/** The same of one that does not say how much it will be; it streams, and most of those read as they write. */
const maxDroppedOfUnknownBytes = 1024 * 1024;
/** One that has not ended after so long, and a sweep, is cut off. */
const lingerMs = 5_000;

/**
 * Bounds what callers may make a door wait for and keep, before anything is known of them. One sweep for all bodies: a timer
 * for each would cost more than most calls.
 */
export class BodyWatch implements Disposable {
  readonly #limits: BodyLimits;
  readonly #pending = new Set<PendingBody>();
  readonly #unread = new Map<Unread, number>();
  readonly #sweeper: NodeJS.Timeout;
  #heldBytes = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    this.#sweeper.unref();
  }

  add(body: PendingBody): void {
    this.#pending.add(body);
  }

  /** @returns an error when too much is held */
  hold(body: PendingBody, bytes: number): ConnectError | undefined {
    if (this.#heldBytes + bytes > this.#limits.maxHeldBytes) {
      this.#limits.onRefused?.("overloaded");
      return new ConnectError("too many large requests at once", Code.Unavailable, { "retry-after": "1" });
    }
    body.heldBytes += bytes;
    this.#heldBytes += bytes;
    return undefined;
  }

  /** Gives back what was held for a body that was not added. */
  release(body: PendingBody): void {
    this.#heldBytes -= body.heldBytes;
    body.heldBytes = 0;
  }

  /**
   * Waits for the next piece of something that has begun.
   * @param waitedMs that were waited for it before
   * @throws ConnectError when it comes too slowly
   */
  within<T>(next: Promise<T>, waitedMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const refuse = (): void => {
        this.#limits.onRefused?.("slow_body");
        reject(tooSlow());
      };
      const timer = setTimeout(refuse, Math.max(0, this.#limits.timeoutMs - waitedMs));
      void next.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  tooLarge(): void {
    this.#limits.onRefused?.("body_size");
  }

  remove(body: PendingBody): void {
    if (this.#pending.delete(body)) this.release(body);
  }

  /**
   * Drops what still comes of a request that has its answer, and cuts it off when that takes too long. What is too much stays
   * where it is: reading it would cost more than refusing it.
   * @param announced bytes of the whole body, where the caller has said so
   */
  drop(request: Unread, announced: number | undefined): void {
    this.#unread.set(request, performance.now());
    request.once("close", () => this.#unread.delete(request));
    let left = announced === undefined ? maxDroppedOfUnknownBytes : maxDroppedBytes;
    if (announced !== undefined && announced > maxDroppedBytes) request.pause();
    else {
      request.on("data", (chunk) => {
        left -= chunk.byteLength;
        if (left < 0) request.pause();
      });
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }

  // Both in the order of their coming.
  #sweep(): void {
    const now = performance.now();
    for (const body of this.#pending) {
      if (body.since > now - this.#limits.timeoutMs) break;
      this.remove(body);
      this.#limits.onRefused?.("slow_body");
      body.refuse(tooSlow());
    }
    for (const [request, since] of this.#unread) {
      if (since > now - lingerMs) break;
      request.destroy();
    }
  }
}

function tooSlow(): ConnectError {
  return new ConnectError("the request came too slowly", Code.DeadlineExceeded);
}

/**
 * A body that somebody else reads, message by message or to unpack it.
 * @throws ConnectError from the iteration when it comes too slowly, or too much is held
 */
export async function* watchedBody(source: AsyncIterable<Uint8Array>, watch: BodyWatch): AsyncGenerator<Uint8Array> {
  let fail: (error: ConnectError) => void = () => {};
  const refused = new Promise<never>((_resolve, reject) => (fail = reject));
  refused.catch(() => {}); // nobody may be waiting at that moment
  const body: PendingBody = { since: performance.now(), heldBytes: 0, refuse: fail };
  const iterator = source[Symbol.asyncIterator]();
  watch.add(body);
  try {
    while (true) {
      const next = await Promise.race([iterator.next(), refused]);
      if (next.done === true) return;
      const full = watch.hold(body, next.value.byteLength);
      if (full !== undefined) throw full;
      yield next.value;
    }
  } finally {
    watch.remove(body);
  }
}
