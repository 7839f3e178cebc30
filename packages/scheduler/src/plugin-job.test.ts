import { isJobId } from "@millrace/protocol";
import { expect, test } from "vitest";
import { eventJobId, isTaggable, taskJobId } from "./plugin-job.ts";

test("a task's job has one id, which no other task has", () => {
  expect(taskJobId("a", "b", 5000)).toBe("a-b-5");
  expect(taskJobId("a-b", "c", 5000)).not.toBe(taskJobId("a", "b-c", 5000));
  expect(taskJobId("p".repeat(64), "t".repeat(32), 1_800_000_000_000).length).toBeLessThanOrEqual(64);
});

test("an event's job has one id for each export, however long the event's own", () => {
  const long = "e".repeat(64);
  const ids = [
    eventJobId(long, "p", "a"),
    eventJobId(long, "p", "b"),
    eventJobId("e1", "p", "a"),
    eventJobId("e1", "q", "a"),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every(isJobId)).toBe(true);
  expect(eventJobId("e1", "p", "a")).toMatch(/^e1-[0-9a-f]{12}$/);
});

test("an export whose name does not fit in a tag is not submitted", () => {
  expect([isTaggable("on_event"), isTaggable("a,b"), isTaggable("x".repeat(58))]).toEqual([true, false, false]);
});
