import { create } from "@bufbuild/protobuf";
import { EventKind, JobEventSchema } from "@millrace/protocol";
import { expect, test } from "vitest";
import { EventSieve } from "./event-sieve.ts";
import type { JobEventAt } from "./job-event-at.ts";

function event(jobId: string, kind: EventKind, more: Partial<JobEventAt> = {}): JobEventAt {
  const place = { queue: "q", type: "t", priority: 3, run: 1, attempt: 1, move: 0, atMs: 0 };
  const who = { worker: "", owner: "", correlationId: "", detail: create(JobEventSchema) };
  return { position: { seq: 1, index: 0 }, jobId, kind, ...place, ...who, ...more };
}

test("each thing that happened goes through once, and of the ends of a run the first", () => {
  const sieve = new EventSieve(100);
  const takes = (...args: Parameters<typeof event>): boolean => sieve.takes(event(...args));
  expect([takes("a", EventKind.STARTED), takes("a", EventKind.STARTED)]).toEqual([true, false]);
  expect(takes("a", EventKind.STARTED, { attempt: 2 })).toBe(true);
  expect([takes("a", EventKind.SUCCEEDED), takes("a", EventKind.CANCELLED)]).toEqual([true, false]);
  expect(takes("a", EventKind.DEAD, { attempt: 2 })).toBe(false);
  expect(takes("a", EventKind.DEAD, { run: 2 })).toBe(true);
  // Another's job that uses the id.
  expect(takes("a", EventKind.SUCCEEDED, { queue: "other" })).toBe(true);
  // What may be said again, with another reason.
  expect([takes("a", EventKind.PARKED), takes("a", EventKind.PARKED)]).toEqual([true, true]);
});

test("it remembers the newest, within its bound", () => {
  const sieve = new EventSieve(10);
  for (let i = 0; i < 10_000; i++) {
    expect(sieve.takes(event(`j${i}`, EventKind.STARTED))).toBe(true);
    const recent = Math.max(0, i - 8);
    expect(sieve.takes(event(`j${recent}`, EventKind.STARTED))).toBe(false);
  }
  expect(sieve.takes(event("j0", EventKind.STARTED))).toBe(true);
});
