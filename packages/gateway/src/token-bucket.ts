/** How many a bucket gains each second, and how many it holds at most. */
export interface BucketRate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Tokens that come at a steady rate. */
export class TokenBucket {
  #tokens: number;
  #at: number;

  constructor({ burst }: BucketRate, nowMs: number) {
    this.#tokens = burst;
    this.#at = nowMs;
  }

  /** What it gives of `wanted`, whole tokens. */
  take(wanted: number, { perSecond, burst }: BucketRate, nowMs: number): number {
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#at) * perSecond) / 1000);
    this.#at = nowMs;
    const given = Math.min(wanted, Math.floor(this.#tokens));
    this.#tokens -= given;
    return given;
  }

  isFull({ perSecond, burst }: BucketRate, nowMs: number): boolean {
    return this.#tokens + ((nowMs - this.#at) * perSecond) / 1000 >= burst;
  }
}
