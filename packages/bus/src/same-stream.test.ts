import { expect, test } from "vitest";
import { isSameStream } from "./same-stream.ts";

test("leaders of a cluster may tell other times of one stream; one server tells one time", () => {
  expect(isSameStream({ createdMs: 1_000_068, replicas: 3 }, 1_000_000)).toBe(true);
  expect(isSameStream({ createdMs: 1_060_000, replicas: 3 }, 1_000_000)).toBe(false);
  expect(isSameStream({ createdMs: 1_000_068, replicas: 1 }, 1_000_000)).toBe(false);
  expect(isSameStream({ createdMs: 1_000_000, replicas: 1 }, 1_000_000)).toBe(true);
});
