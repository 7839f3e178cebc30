import { isTerminal, JobState, jobVersion, maxMove, maxRun, type RowStanding } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeStanding } from "./judge-standing.ts";

type Place = Parameters<typeof judgeStanding>[0];
const place = fc.record({
  run: fc.integer({ min: 1, max: maxRun }),
  attempt: fc.integer({ min: 1, max: 100 }),
  move: fc.nat(maxMove),
});
const ends = [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED] as const;
const state = fc.constantFrom(JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING, ...ends);
const row = (at: Place, state: JobState, newest: Place): RowStanding => ({
  id: "a",
  state,
  version: jobVersion({ ...at, state }),
  placeVersion: jobVersion({ ...newest, state: JobState.QUEUED }),
  stream: "JOBS_HIGH",
  seq: 1,
});

test("without a row, and by its own row, a message is due in every state that is no end", () => {
  fc.assert(
    fc.property(place, state, (at, state) => {
      expect(judgeStanding(at, undefined)).toBe("due");
      expect(judgeStanding(at, row(at, state, at))).toBe(isTerminal(state) ? "ended" : "due");
    }),
  );
});

test("a message is due after an end of an earlier run, and never after one of its own or a later run", () => {
  fc.assert(
    fc.property(place, place, (at, end) => {
      const standing = judgeStanding(at, row(end, JobState.SUCCEEDED, end));
      expect(standing).toBe(end.run >= at.run ? "ended" : "due");
    }),
  );
});

test("a retry that is due or scheduled has moved the attempt before it; one that is only announced has not", () => {
  const at = { run: 1, attempt: 1, move: 0 };
  expect(judgeStanding(at, row(at, JobState.RETRYING, at))).toBe("due");
  expect(judgeStanding(at, row(at, JobState.RETRYING, { ...at, attempt: 2 }))).toBe("moved");
  const waits = { ...at, move: 1 };
  const scheduled = {
    ...row(at, JobState.SCHEDULED, at),
    placeVersion: jobVersion({ ...waits, state: JobState.SCHEDULED }),
  };
  expect(judgeStanding(at, scheduled)).toBe("moved");
  expect(judgeStanding(waits, scheduled)).toBe("due");
});
