import type { StreamState } from "@millrace/bus";
import { expect, test } from "vitest";
import { firstOffered } from "./event-lag.ts";

const state: StreamState = {
  subjects: 1,
  messages: 1000,
  bytes: 1_000_000,
  maxBytes: 2_000_000,
  firstSeq: 1,
  lastSeq: 1000,
  consumers: 0,
  createdMs: 0,
  replicas: 1,
};

test("a plugin is offered what follows, as long as it is not more than a quarter of the bytes behind", () => {
  expect(firstOffered(1000, state)).toBe(1001);
  expect(firstOffered(500, state)).toBe(501);
  // 500 messages of 1,000 bytes.
  expect(firstOffered(499, state)).toBe(501);
  expect(firstOffered(0, state)).toBe(501);
});

test("without a bound, or with nothing there, nothing is passed over", () => {
  expect(firstOffered(3, { ...state, maxBytes: -1 })).toBe(4);
  expect(firstOffered(3, { ...state, messages: 0, bytes: 0 })).toBe(4);
});
