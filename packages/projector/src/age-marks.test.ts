import { expect, test } from "vitest";
import { AgeMarks } from "./age-marks.ts";

test("tells a message that is older, and the newest once all are", () => {
  const ages = new AgeMarks();
  expect(ages.newestBefore(1_000)).toBe(0);
  for (let seq = 1; seq <= 100; seq++) ages.add({ seq, atMs: 1_000 + seq * 10 });
  expect(ages.newestBefore(1_000)).toBe(0);
  const half = ages.newestBefore(1_500);
  expect(half).toBeGreaterThan(20);
  expect(half).toBeLessThan(50);
  expect(ages.newestBefore(2_000)).toBeLessThan(100);
  expect(ages.newestBefore(2_001)).toBe(100);
});
