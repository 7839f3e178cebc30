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

const sweepMs = 1_000;

/**
 * Bounds what callers may make a door wait for and keep, before anything is known of them. One sweep for all bodies: a timer
 * for each would cost more than most calls.
 */
export class BodyWatch implements Disposable {
  readonly #limits: BodyLimits;
  readonly #pending = new Set<PendingBody>();
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

  tooLarge(): void {
    this.#limits.onRefused?.("body_size");
  }

  remove(body: PendingBody): void {
    if (!this.#pending.delete(body)) return;
    this.#heldBytes -= body.heldBytes;
    body.heldBytes = 0;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }

  #sweep(): void {
    const oldest = performance.now() - this.#limits.timeoutMs;
    for (const body of this.#pending) {
      // In the order of their coming.
      if (body.since > oldest) return;
      this.remove(body);
      this.#limits.onRefused?.("slow_body");
      body.refuse(new ConnectError("the request came too slowly", Code.DeadlineExceeded));
    }
  }
}

interface Source {
  once(event: "end" | "close", listener: () => void): unknown;
  destroy(): unknown;
}

/** Cuts off a caller whose body, which somebody else reads and bounds, takes too long. */
export function followBody(source: Source, watch: BodyWatch): void {
  const body: PendingBody = { since: performance.now(), heldBytes: 0, refuse: () => void source.destroy() };
  watch.add(body);
  const over = (): void => watch.remove(body);
  source.once("end", over);
  source.once("close", over);
}
