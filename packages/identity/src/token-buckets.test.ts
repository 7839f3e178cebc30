import fc from "fast-check";
import { expect, test } from "vitest";
import { TokenBuckets } from "./token-buckets.ts";

test("a bucket never gives more than its burst and what has flowed in since", () => {
  const steps = fc.array(fc.record({ afterMs: fc.nat(5_000), tokens: fc.integer({ min: 1, max: 50 }) }));
  const rates = fc.record({
    ratePerMinute: fc.integer({ min: 1, max: 6_000 }),
    burst: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(rates, steps, ({ ratePerMinute, burst }, wishes) => {
      let now = 0;
      let given = 0;
      const buckets = new TokenBuckets(() => now);
      for (const { afterMs, tokens } of wishes) {
        now += afterMs;
        const grant = buckets.take({ key: "a", tokens, ratePerMinute, burst });
        given += grant.tokens;
        expect(given).toBeLessThanOrEqual(burst + (now * ratePerMinute) / 60_000 + 1e-6);
        if (grant.tokens === tokens) continue;
        now += grant.retryAfterMs;
        expect(buckets.take({ key: "a", tokens: 1, ratePerMinute, burst }).tokens).toBe(1);
        given += 1;
      }
    }),
  );
});
