import fc from "fast-check";
import { expect, it } from "vitest";
import { leastStreamBytes, planSizes, type SizedStream } from "./plan-sizes.ts";

const gib = 2 ** 30;
const log = (name: string, maxBytes: number, given = false): SizedStream => ({ name, maxBytes, given, kind: "log" });
const bucket = (name: string, maxBytes: number): SizedStream => ({ name, maxBytes, given: false, kind: "bucket" });

it("gives each what it should have where there is room", () => {
  expect([...planSizes([log("a", 10 * gib), bucket("b", gib)], Infinity).values()]).toEqual([10 * gib, gib]);
});

it("makes logs smaller before buckets, and never what was asked for", () => {
  const streams = [log("a", 10 * gib), log("b", 30 * gib), log("given", gib, true), bucket("c", 2 * gib)];
  expect(Object.fromEntries(planSizes(streams, 23 * gib))).toEqual({
    a: 5 * gib,
    b: 15 * gib,
    given: gib,
    c: 2 * gib,
  });
});

it("fits into whatever there is, down to the least that makes sense", () => {
  const stream = fc.record({
    name: fc.uuid(),
    maxBytes: fc.integer({ min: leastStreamBytes, max: 64 * gib }),
    given: fc.boolean(),
    kind: fc.constantFrom("log" as const, "bucket" as const),
  });
  const some = fc.uniqueArray(stream, { minLength: 1, maxLength: 30, selector: ({ name }) => name });
  fc.assert(
    fc.property(some, fc.integer({ min: 0, max: 500 * gib }), (streams, budget) => {
      const sizes = planSizes(streams, budget);
      let left = budget;
      for (const { name, maxBytes, given } of streams) {
        const size = sizes.get(name) ?? Number.NaN;
        expect(size).toBeLessThanOrEqual(maxBytes);
        expect(size).toBeGreaterThanOrEqual(leastStreamBytes);
        if (given) expect(size).toBe(maxBytes);
        if (given) left -= size;
      }
      const rest = streams.filter(({ name, given }) => !given && (sizes.get(name) ?? 0) > leastStreamBytes);
      // Of what is not the least already, nothing is beyond what there is.
      expect(rest.reduce((sum, { name }) => sum + (sizes.get(name) ?? 0), 0)).toBeLessThanOrEqual(Math.max(0, left));
    }),
  );
});
