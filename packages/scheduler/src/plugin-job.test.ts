import { isJobId } from "@millrace/protocol";
import { expect, test } from "vitest";
import { eventJobId, taskJobId } from "./plugin-job.ts";

test("a task's job has one id, which no other task has", () => {
  expect(taskJobId("a", "b", 5000)).toBe("_a-b-5");
  expect(taskJobId("a-b", "c", 5000)).not.toBe(taskJobId("a", "b-c", 5000));
  expect(taskJobId("p".repeat(64), "t".repeat(32), 1_800_000_000_000).length).toBeLessThanOrEqual(64);
});

test("an event's job has one id for each export, however long the event's own", () => {
  const event = { id: "e1", name: "user.login", source: "control" };
  const long = { ...event, id: "e".repeat(64) };
  const ids = [
    eventJobId(event, "p", "a"),
    eventJobId(event, "q", "a"),
    eventJobId(event, "p", "b"),
    eventJobId({ ...event, source: "plugin:x" }, "p", "a"),
    eventJobId({ ...event, name: "user.logout" }, "p", "a"),
    eventJobId(long, "p", "a"),
    eventJobId(long, "p", "b"),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every(isJobId)).toBe(true);
  expect(ids[0]).toMatch(/^_e1-[0-9a-f]{12}$/);
});
