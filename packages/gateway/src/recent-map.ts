interface Entry<V> {
  readonly value: V;
  readonly at: number;
}

/** A map that forgets what was put in long ago: what comes in as time goes on does not add up for ever. */
export class RecentMap<V> {
  readonly #rememberMs: number;
  readonly #now: () => number;
  // In the order of their coming.
  readonly #entries = new Map<string, Entry<V>>();

  /** @param now monotonic ms */
  constructor(rememberMs: number, now: () => number = () => performance.now()) {
    this.#rememberMs = rememberMs;
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key)?.value;
  }

  set(key: string, value: V): void {
    const now = this.#now();
    this.#entries.delete(key);
    this.#entries.set(key, { value, at: now });
    for (const [old, { at }] of this.#entries) {
      if (now - at <= this.#rememberMs) break;
      this.#entries.delete(old);
    }
  }
}
