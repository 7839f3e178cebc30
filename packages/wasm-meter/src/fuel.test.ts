import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareRuns } from "./testing/compare-runs.ts";
import { encodeProgram } from "./testing/encode-program.ts";
import { mutateAndMeter } from "./testing/mutate-module.ts";
import { randomProgram } from "./testing/random-program.ts";

const seeds = fc.integer();
const args = fc.tuple(fc.nat(31), fc.nat(31));

describe("random programs", () => {
  it("give the same results, for the fuel of every instruction that runs", () => {
    fc.assert(
      fc.property(seeds, args, (seed, given) => {
        expect(compareRuns(randomProgram(seed, false), given, false)).toEqual([]);
      }),
      { numRuns: 800 },
    );
  });

  it("with exceptions, give the same results, for no less fuel", () => {
    fc.assert(
      fc.property(seeds, args, (seed, given) => {
        expect(compareRuns(randomProgram(seed, true), given, true)).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });

  it("with bytes changed, come out valid or are refused with a place", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        expect(mutateAndMeter(encodeProgram(randomProgram(seed, true)), seed)).not.toHaveLength(0);
      }),
      { numRuns: 300 },
    );
  });
});
