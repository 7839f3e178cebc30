import { expect, test } from "vitest";
import { RecentMap } from "./recent-map.ts";

test("what was put in long ago is forgotten, what was put in again is not", () => {
  let now = 0;
  const map = new RecentMap<number>(100, () => now);
  for (const key of ["a", "b", "c"]) map.set(key, 1);
  now = 60;
  map.set("b", 2);
  now = 101;
  map.set("d", 4);
  expect(["a", "b", "c", "d"].map((key) => map.get(key))).toEqual([undefined, 2, undefined, 4]);
  for (; now < 10_000; now += 10) map.set(`${now}`, now);
  expect(map.size).toBeLessThanOrEqual(12);
});
