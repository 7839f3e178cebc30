import { expect, test } from "vitest";
import { PeakWork } from "./peak-work.ts";

const record = (work: PeakWork, times: number, clockMs: number, fuelMs: number): PeakWork => {
  for (let i = 0; i < times; i++) work.record(clockMs, fuelMs);
  return work;
};

test("what has hardly run is taken for long", () => {
  const work = new PeakWork();
  expect(record(work, 3, 0.1, 0.1).ms).toBe(20);
  expect(record(work, 1, 0.1, 0.1).ms).toBeCloseTo(0.1);
});

test("one long run among short ones is remembered", () => {
  const work = record(new PeakWork(), 200, 0.1, 0.1);
  expect(record(work, 1, 30, 30).ms).toBe(30);
  expect(record(work, 20, 0.1, 0.1).ms).toBeGreaterThan(4);
});

test("the clock of a machine with more to do than cores does not make a short call long", () => {
  const work = record(new PeakWork(), 200, 0.1, 0.1);
  // One in five was interrupted for 20 ms.
  for (let i = 0; i < 100; i++) record(record(work, 1, 20, 0.1), 4, 0.1, 0.1);
  expect(work.ms).toBeLessThan(1);
});

test("what the host does for a call counts, though it costs no fuel", () => {
  expect(record(new PeakWork(), 200, 8, 0.1).ms).toBeCloseTo(8, 1);
});
