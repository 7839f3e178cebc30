import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffDelayMs, formatBackoff, parseBackoff, type BackoffPolicy } from "./index.ts";

const policy = fc.record({
  kind: fc.constantFrom("exponential", "linear", "fixed") as fc.Arbitrary<BackoffPolicy["kind"]>,
  baseMs: fc.integer({ min: 1, max: 86_400_000 }),
  maxMs: fc.integer({ min: 1, max: 604_800_000 }),
  jitter: fc.integer({ min: 0, max: 100 }).map((percent) => percent / 100),
});

describe("backoffDelayMs", () => {
  it("stays within 0 and the bound, for any number of failures", () => {
    fc.assert(
      fc.property(policy, fc.nat(10_000), fc.double({ min: 0, max: 0.999, noNaN: true }), (p, failures, random) => {
        const delay = backoffDelayMs(p, failures, random);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(p.maxMs);
      }),
    );
  });

  it("doubles, adds or stays", () => {
    const base = { baseMs: 100, maxMs: 10_000, jitter: 0 };
    const delays = (kind: BackoffPolicy["kind"]) => [1, 2, 3, 4].map((n) => backoffDelayMs({ kind, ...base }, n, 0.5));
    expect(delays("exponential")).toEqual([100, 200, 400, 800]);
    expect(delays("linear")).toEqual([100, 200, 300, 400]);
    expect(delays("fixed")).toEqual([100, 100, 100, 100]);
  });
});

describe("the backoff header", () => {
  it("survives the wire", () => {
    fc.assert(
      fc.property(policy, (p) => {
        expect(parseBackoff(formatBackoff(p))).toEqual(p);
      }),
    );
  });

  it("refuses what it does not know", () => {
    for (const text of ["", "quick", "fixed;base=-1", "fixed;base=1s", "linear;jitter=2", "fixed;;", "fixed;cap=3"]) {
      expect(parseBackoff(text), text).toBeUndefined();
    }
  });
});
