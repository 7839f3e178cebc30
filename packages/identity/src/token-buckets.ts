/** Buckets that are remembered; the one unused longest is forgotten, and so is full when it comes again. */
const maxBuckets = 100_000;

export interface Wish {
  readonly key: string;
  readonly tokens: number;
  readonly ratePerMinute: number;
  readonly burst: number;
}

export interface Grant {
  readonly tokens: number;
  readonly retryAfterMs: number;
  readonly remaining: number;
}

interface Bucket {
  tokens: number;
  /** Ms on the clock of the buckets. */
  filledAt: number;
}

/** Token buckets: each holds at most its burst, and fills at its rate. */
export class TokenBuckets {
  // In the order of last use.
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: () => number;

  /** @param now monotonic ms */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Takes as many tokens as are there, up to what is wished. */
  take({ key, tokens, ratePerMinute, burst }: Wish): Grant {
    const perMs = ratePerMinute / 60_000;
    const now = this.#now();
    const known = this.#buckets.get(key);
    const held = known === undefined ? burst : Math.min(burst, known.tokens + (now - known.filledAt) * perMs);
    // What has flowed in adds up from fractions: a token that lacks a billionth is there.
    const granted = Math.min(tokens, Math.floor(held + 1e-9));
    const left = Math.max(0, held - granted);
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens: left, filledAt: now });
    if (this.#buckets.size > maxBuckets) {
      const oldest = this.#buckets.keys().next();
      if (!oldest.done) this.#buckets.delete(oldest.value);
    }
    const retryAfterMs = granted === tokens ? 0 : Math.max(1, Math.ceil((1 - (left % 1)) / perMs));
    return { tokens: granted, retryAfterMs, remaining: Math.floor(left) };
  }
}
