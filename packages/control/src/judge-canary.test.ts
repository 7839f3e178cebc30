import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeCanary, type Tally } from "./judge-canary.ts";

const bounds = { failureIncrease: 0.1, fuelRatio: 3, minCalls: 20 };
const tally = fc
  .record({ calls: fc.nat(1000), share: fc.double({ min: 0, max: 1, noNaN: true }), each: fc.nat(1e6) })
  .map(({ calls, share, each }): Tally => ({ calls, failures: Math.floor(calls * share), fuel: calls * each }));

test("a canary that does as well as what serves stays, and one with too few calls is not judged", () => {
  fc.assert(
    fc.property(tally, tally, (one, other) => {
      expect(judgeCanary(one, one, bounds)).toBeUndefined();
      expect(judgeCanary({ ...one, calls: Math.min(one.calls, 19) }, other, bounds)).toBeUndefined();
    }),
  );
});

test("more failures never save a canary", () => {
  fc.assert(
    fc.property(tally, tally, fc.nat(100), (canary, serving, more) => {
      const worse = { ...canary, failures: Math.min(canary.calls, canary.failures + more) };
      if (judgeCanary(canary, serving, bounds) !== undefined) {
        expect(judgeCanary(worse, serving, bounds)).toBeDefined();
      }
    }),
  );
});

test("the reason has the figures", () => {
  const serving = { calls: 400, failures: 2, fuel: 400_000 };
  expect(judgeCanary({ calls: 60, failures: 31, fuel: 60_000 }, serving, bounds)).toBe(
    "31 of 60 calls failed (51.7 %), against 2 of 400 calls failed (0.5 %) of the version that serves; at most 10 % more is let through",
  );
  expect(judgeCanary({ calls: 60, failures: 0, fuel: 60_000 * 4 }, serving, bounds)).toBe(
    "used 4000 fuel a call, against 1000 of the version that serves; at most 3 × is let through",
  );
  expect(judgeCanary({ calls: 49, failures: 49, fuel: 0 }, serving, undefined)).toBeUndefined();
  expect(judgeCanary({ calls: 50, failures: 50, fuel: 0 }, serving, undefined)).toBeDefined();
});
