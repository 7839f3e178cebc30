import { LimiterRuntimeService } from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";
import { BoundedCache } from "./bounded-cache.ts";
import { TokenBucket, type BucketRate } from "./token-bucket.ts";

/** Callers and addresses at once; each costs a few hundred bytes. Whoever is forgotten starts with a new lease. */
const maxKeys = 20_000;
/** A gateway leases so much of a bucket at a time: enough that few calls wait, little enough that other gateways get theirs. */
const leaseShare = 1 / 20;
const leaseTimeoutMs = 250;
/** Without an answer from the limiter the gateway's own bucket counts for so long. */
const aloneMs = 1_000;

interface Account {
  readonly rate: BucketRate;
  /** Leased and not spent. */
  held: number;
  /** What the shared bucket had left, by its last answer. */
  remaining: number;
  leasing: Promise<void> | undefined;
  /** No lease is asked for before; on the clock of `performance.now()`. */
  emptyUntil: number;
  own: TokenBucket | undefined;
}

export interface RateAnswer {
  readonly allowed: boolean;
  /** About; other gateways spend from the same bucket. */
  readonly remaining: number;
  readonly retryAfterMs: number;
}

/** Token buckets that all gateways share: each leases some tokens at a time, and spends them without asking. */
export class RateLimiter {
  readonly #client;
  readonly #now: () => number;
  readonly #accounts = new BoundedCache<string, Account>(maxKeys);
  #aloneUntil = 0;

  constructor(transport: RpcTransport, now: () => number = () => performance.now()) {
    this.#client = createClient(LimiterRuntimeService, transport);
    this.#now = now;
  }

  /** Takes all the tokens wanted, or none; waits for a lease only where too few are left. */
  take(key: string, rate: BucketRate, wanted = 1): RateAnswer | Promise<RateAnswer> {
    let account = this.#accounts.get(key);
    if (account === undefined || account.rate !== rate) {
      account = { rate, held: 0, remaining: rate.burst, leasing: undefined, emptyUntil: 0, own: undefined };
      this.#accounts.set(key, account);
    }
    const chunk = chunkOf(rate);
    if (account.held >= wanted) {
      account.held -= wanted;
      if (account.held < chunk / 2 && account.leasing === undefined && this.#now() >= account.emptyUntil) {
        this.#lease(key, account, chunk);
      }
      return { allowed: true, remaining: account.remaining + account.held, retryAfterMs: 0 };
    }
    const waitMs = account.emptyUntil - this.#now();
    if (waitMs > 0) return { allowed: false, remaining: 0, retryAfterMs: waitMs };
    const taken = account;
    const lease = Math.min(rate.burst, Math.max(chunk, wanted));
    return (account.leasing ?? this.#lease(key, account, lease)).then(() => {
      if (taken.held < wanted) {
        return { allowed: false, remaining: 0, retryAfterMs: Math.max(1, taken.emptyUntil - this.#now()) };
      }
      taken.held -= wanted;
      return { allowed: true, remaining: taken.remaining + taken.held, retryAfterMs: 0 };
    });
  }

  /** Gives back what was taken for something that could not be tried. */
  give(key: string, rate: BucketRate, count = 1): void {
    const account = this.#accounts.get(key);
    if (account === undefined || account.rate !== rate) return;
    account.held = Math.min(rate.burst, account.held + count);
  }

  #lease(key: string, account: Account, tokens: number): Promise<void> {
    account.leasing = this.#ask(key, account, tokens).finally(() => (account.leasing = undefined));
    return account.leasing;
  }

  async #ask(key: string, account: Account, tokens: number): Promise<void> {
    const { perSecond, burst } = account.rate;
    if (this.#now() >= this.#aloneUntil) {
      try {
        const wish = { key, tokens, ratePerMinute: Math.max(1, Math.round(perSecond * 60)), burst };
        const { grants } = await this.#client.lease({ wishes: [wish] }, { timeoutMs: leaseTimeoutMs });
        const [grant] = grants;
        account.held += grant?.tokens ?? 0;
        account.remaining = grant?.remaining ?? 0;
        if ((grant?.tokens ?? 0) < tokens) account.emptyUntil = this.#now() + Math.max(1, grant?.retryAfterMs ?? 0);
        account.own = undefined;
        return;
      } catch {
        // Limits that each gateway keeps for itself are better than none, and than no service.
        this.#aloneUntil = this.#now() + aloneMs;
      }
    }
    const now = this.#now();
    const given = (account.own ??= new TokenBucket(account.rate, now)).take(tokens, account.rate, now);
    account.held += given;
    account.remaining = 0;
    if (given < tokens) account.emptyUntil = now + 1000 / perSecond;
  }
}

function chunkOf({ burst }: BucketRate): number {
  return Math.max(1, Math.floor(burst * leaseShare));
}
