import type { GatewayConfig } from "./config.ts";
import type { BucketRate } from "./token-bucket.ts";

/** As the configuration has them at the moment. A limit that stays is the same object. */
export interface RateLimits {
  /** Of one user, over all gateways. */
  readonly perIdentity: BucketRate;
  /** Of one address, whoever calls from there. */
  readonly perAddress: BucketRate;
  /** Of one address, for what needs no identity, such as signing in, and for credentials not seen before. */
  readonly strangers: BucketRate;
  /** Jobs that one user submits, over all gateways. */
  readonly jobs: BucketRate;
  /** KiB of those jobs. */
  readonly jobKibibytes: BucketRate;
}

type Kind = "identity" | "address" | "stranger" | "job" | "jobKibibyte";

/** @param config may change: limits follow */
export function rateLimits(config: GatewayConfig): RateLimits {
  const [perIdentity, perAddress] = [following(config, "identity"), following(config, "address")];
  const strangers = following(config, "stranger");
  const [jobs, jobKibibytes] = [following(config, "job"), following(config, "jobKibibyte")];
  return {
    get perIdentity() {
      return perIdentity();
    },
    get perAddress() {
      return perAddress();
    },
    get strangers() {
      return strangers();
    },
    get jobs() {
      return jobs();
    },
    get jobKibibytes() {
      return jobKibibytes();
    },
  };
}

function following(config: GatewayConfig, kind: Kind): () => BucketRate {
  let rate: BucketRate = { perSecond: config[`${kind}Rate`], burst: config[`${kind}Burst`] };
  return () => {
    const [perSecond, burst] = [config[`${kind}Rate`], config[`${kind}Burst`]];
    if (rate.perSecond !== perSecond || rate.burst !== burst) rate = { perSecond, burst };
    return rate;
  };
}
