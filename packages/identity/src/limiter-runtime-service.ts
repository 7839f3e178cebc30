import type { ServiceImpl } from "@connectrpc/connect";
import type { LimiterRuntimeService } from "@millrace/protocol";
import { TokenBuckets } from "./token-buckets.ts";

/** Rate limits that gateways share; no door offers it. */
export function limiterRuntimeService(): ServiceImpl<typeof LimiterRuntimeService> {
  const buckets = new TokenBuckets();
  return { lease: ({ wishes }) => ({ grants: wishes.map((wish) => buckets.take(wish)) }) };
}
