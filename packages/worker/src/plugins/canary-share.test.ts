import { expect, test } from "vitest";
import { canaryShare } from "./canary-share.ts";

test("gives each percentile its share of jobs", () => {
  const counts = Array.from({ length: 100 }, () => 0);
  for (let i = 0; i < 100_000; i++) counts[canaryShare(`job-${i}`)]!++;
  for (const count of counts) expect(count).toBeGreaterThan(800);
  // The published vector of FNV-1a for "foobar" is 0xbf9cf968.
  expect(canaryShare("foobar")).toBe(0xbf9cf968 % 100);
});
