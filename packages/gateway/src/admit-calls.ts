import type { Message } from "@bufbuild/protobuf";
import type { CallContext } from "@millrace/rpc";
import { limitKey } from "./caller-address.ts";
import type { MethodAccess } from "./check-access.ts";
import type { RateAnswer, RateLimiter } from "./rate-limiter.ts";
import { measureSubmission } from "./measure-submission.ts";
import type { RateLimits } from "./rate-limits.ts";
import type { RefusalReason, Refusals } from "./refusals.ts";
import type { BucketRate } from "./token-bucket.ts";

/** Probes are answered however much else is asked. */
const exempt = "grpc.health.v1.Health";
/** Callers are told how much is left once so much of it is gone; before, it would only cost. */
const toldBelow = 0.5;

export interface Admission {
  /** Before anybody has looked at the credentials. @throws ConnectError resource_exhausted */
  byAddress(call: CallContext, access: MethodAccess | undefined): void | Promise<void>;
  /** Before credentials that are not known are looked into. @throws ConnectError resource_exhausted */
  stranger(call: CallContext): void | Promise<void>;
  /** Takes back what a stranger's call has cost: its credentials could not be looked into. */
  forgive(call: CallContext): void;
  /** @throws ConnectError resource_exhausted */
  byIdentity(call: CallContext): void | Promise<void>;
  /** Before a caller is told that it may not, where that is written down. @throws ConnectError resource_exhausted */
  refused(call: CallContext): void | Promise<void>;
  /** Before jobs are submitted. @throws ConnectError resource_exhausted */
  bySubmission(call: CallContext, request: Message): void | Promise<void>;
}

export function createAdmission(
  limiter: RateLimiter,
  limits: RateLimits,
  addressOf: (call: CallContext) => string,
  refusals: Refusals,
): Admission {
  function settle(call: CallContext, rate: BucketRate, answer: RateAnswer, reason: RefusalReason): void {
    const { allowed, remaining, retryAfterMs } = answer;
    if (allowed) {
      if (remaining >= rate.burst * toldBelow) return;
      for (const [name, value] of Object.entries(rateHeaders(rate, answer))) call.responseHeader.set(name, value);
      return;
    }
    const retryAfter = String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
    const headers = { "retry-after": retryAfter, ...rateHeaders(rate, { ...answer, remaining: 0 }) };
    throw refusals.limited(reason, reason === "quota" ? "too many jobs" : "too many calls", headers);
  }

  function take(
    call: CallContext,
    key: string,
    rate: BucketRate,
    wanted = 1,
    reason: RefusalReason = "rate_limit",
  ): void | Promise<void> {
    const answer = limiter.take(key, rate, wanted);
    if (answer instanceof Promise) return answer.then((late) => settle(call, rate, late, reason));
    settle(call, rate, answer, reason);
  }

  const strangerKey = (call: CallContext): string => `stranger:${limitKey(addressOf(call))}`;
  const stranger = (call: CallContext): void | Promise<void> => take(call, strangerKey(call), limits.strangers);

  return {
    stranger,
    forgive: (call) => limiter.give(strangerKey(call), limits.strangers),
    byAddress(call, access) {
      if (call.service.typeName === exempt) return;
      if (access?.permission === "public") return stranger(call);
      return take(call, `address:${limitKey(addressOf(call))}`, limits.perAddress);
    },
    byIdentity(call) {
      const { subject } = call.identity;
      if (subject !== "anonymous") return take(call, `user:${subject}`, limits.perIdentity);
    },
    refused(call) {
      const { subject } = call.identity;
      // Strangers have paid already.
      if (subject !== "anonymous") return take(call, `refused:${subject}`, limits.strangers);
    },
    bySubmission(call, request) {
      const submission = measureSubmission(call, request);
      if (submission === undefined) return;
      const { subject } = call.identity;
      const takeBytes = (): void | Promise<void> =>
        take(call, `kib:${subject}`, limits.jobKibibytes, submission.kibibytes, "quota");
      const counted = take(call, `jobs:${subject}`, limits.jobs, submission.jobs, "quota");
      return counted === undefined ? takeBytes() : counted.then(takeBytes);
    },
  };
}

/** https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/, and the three fields of its first versions. */
function rateHeaders(
  { perSecond, burst }: BucketRate,
  { remaining, retryAfterMs }: RateAnswer,
): Record<string, string> {
  const windowS = Math.max(1, Math.ceil(burst / perSecond));
  const resetS = Math.max(1, Math.ceil(retryAfterMs > 0 ? retryAfterMs / 1000 : (burst - remaining) / perSecond));
  const left = Math.max(0, Math.floor(remaining));
  return {
    "ratelimit-policy": `"default";q=${burst};w=${windowS}`,
    ratelimit: `"default";r=${left};t=${resetS}`,
    "ratelimit-limit": String(burst),
    "ratelimit-remaining": String(left),
    "ratelimit-reset": String(resetS),
  };
}
