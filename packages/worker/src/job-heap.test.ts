import type { PriorityLevel } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { JobHeap, type Ranked } from "./job-heap.ts";
import { defaultFloors } from "./priority-floors.ts";

const noFloors = { high: 0, normal: 0, low: 0 };
const job = fc.record({
  level: fc.constantFrom<PriorityLevel>(1, 2, 3, 4),
  queue: fc.constantFrom("a", "b", "c"),
});

test("without floors, a higher level always goes first, and a queue keeps its order", () => {
  fc.assert(
    fc.property(fc.array(job, { maxLength: 200 }), (jobs) => {
      const heap = new JobHeap<Ranked & { n: number }>(noFloors);
      jobs.forEach((j, n) => heap.push({ ...j, n }));
      const out = jobs.map(() => heap.pop()!);
      expect(heap.pop()).toBeUndefined();
      expect(heap.size).toBe(0);
      for (let i = 1; i < out.length; i++) expect(out[i]!.level).toBeGreaterThanOrEqual(out[i - 1]!.level);
      for (const level of [1, 2, 3, 4]) {
        for (const queue of ["a", "b", "c"]) {
          const order = out.filter((j) => j.level === level && j.queue === queue).map((j) => j.n);
          expect(order).toEqual([...order].sort((x, y) => x - y));
        }
      }
    }),
  );
});

test("floors give lower levels their share and no more", () => {
  const heap = new JobHeap<Ranked>(defaultFloors);
  for (const level of [1, 3, 4] as const) for (let i = 0; i < 1000; i++) heap.push({ level, queue: "a" });
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < 640; i++) counts[heap.pop()!.level]!++;
  expect(counts[3]).toBeGreaterThanOrEqual(60);
  expect(counts[3]).toBeLessThanOrEqual(90);
  expect(counts[4]).toBeGreaterThanOrEqual(15);
  expect(counts[4]).toBeLessThanOrEqual(25);
});

test("queues of one level take turns", () => {
  const heap = new JobHeap<Ranked>(noFloors);
  for (let i = 0; i < 1000; i++) heap.push({ level: 3, queue: "big" });
  for (let i = 0; i < 10; i++) heap.push({ level: 3, queue: "small" });
  const first = Array.from({ length: 40 }, () => heap.pop()!.queue);
  expect(first.filter((q) => q === "small").length).toBe(10);
});

test("what was put back goes before its equals; removal takes exactly what matches", () => {
  fc.assert(
    fc.property(fc.array(job, { minLength: 1, maxLength: 100 }), (jobs) => {
      const heap = new JobHeap<Ranked>(noFloors);
      for (const j of jobs) heap.push({ ...j });
      const first = heap.pop()!;
      heap.unpop(first);
      expect(heap.pop()).toBe(first);
      heap.unpop(first);
      const removed = heap.remove((j) => j.queue === "a");
      expect(removed.length).toBe(jobs.filter((j) => j.queue === "a").length);
      expect(heap.size).toBe(jobs.length - removed.length);
    }),
  );
});
