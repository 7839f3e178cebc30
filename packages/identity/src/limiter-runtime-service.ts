import type { ServiceImpl } from "@connectrpc/connect";
import type { LimiterRuntimeService } from "@millrace/protocol";
import type { Membership } from "./membership.ts";
import { TokenBuckets } from "./token-buckets.ts";

/**
 * Rate limits that gateways share; no door offers it. Each identity grants its share of them from buckets of its own: together
 * they grant no more than the limit, and all of it to gateways that ask one as often as another.
 */
export function limiterRuntimeService(
  membership: Pick<Membership, "count">,
): ServiceImpl<typeof LimiterRuntimeService> {
  const buckets = new TokenBuckets();
  return {
    lease({ wishes }) {
      const { count } = membership;
      return {
        grants: wishes.map((wish) => {
          // A bucket that holds less than one token never gives any.
          const burst = Math.max(1, wish.burst / count);
          const grant = buckets.take({ ...wish, burst, ratePerMinute: wish.ratePerMinute / count });
          return { ...grant, remaining: grant.remaining * count };
        }),
      };
    },
  };
}
