import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  attemptOfVersion,
  isTerminal,
  JobState,
  jobVersion,
  maxAttempt,
  maxMove,
  maxRun,
  moveOfVersion,
  runOfVersion,
  supersedes,
  type JobStanding,
} from "./index.ts";

const states = [
  JobState.SCHEDULED,
  JobState.QUEUED,
  JobState.RUNNING,
  JobState.RETRYING,
  JobState.SUCCEEDED,
  JobState.DEAD,
  JobState.CANCELLED,
  JobState.EXPIRED,
];
const standing = fc
  .record({
    run: fc.integer({ min: 1, max: 3 }),
    attempt: fc.integer({ min: 1, max: 4 }),
    move: fc.integer({ min: 0, max: 2 }),
    state: fc.constantFrom(...states),
  })
  .map((position): JobStanding => ({ version: jobVersion(position), state: position.state }));

function at(run: number, attempt: number, state: JobState, move = 0): JobStanding {
  return { version: jobVersion({ run, attempt, move, state }), state };
}

function fold(events: readonly JobStanding[]): JobStanding | undefined {
  let row: JobStanding | undefined;
  for (const event of events) if (row === undefined || supersedes(event, row)) row = event;
  return row;
}

describe("jobVersion", () => {
  it("orders by run, attempt, move and state, and gives them back, up to its bounds", () => {
    const position = fc.record({
      run: fc.integer({ min: 1, max: maxRun }),
      attempt: fc.integer({ min: 1, max: maxAttempt }),
      move: fc.integer({ min: 0, max: maxMove }),
      state: fc.constantFrom(...states),
    });
    fc.assert(
      fc.property(position, position, (a, b) => {
        const version = jobVersion(a);
        expect(Number.isSafeInteger(version)).toBe(true);
        expect([runOfVersion(version), attemptOfVersion(version), moveOfVersion(version)]).toEqual([
          a.run,
          a.attempt,
          a.move,
        ]);
        const first = [a.run - b.run, a.attempt - b.attempt, a.move - b.move].find((difference) => difference !== 0);
        if (first !== undefined) expect(Math.sign(version - jobVersion(b))).toBe(Math.sign(first));
      }),
    );
  });
});

describe("supersedes", () => {
  it("never lets a position follow itself, nor two follow each other unless both are ends", () => {
    fc.assert(
      fc.property(standing, standing, (a, b) => {
        expect(supersedes(a, a)).toBe(false);
        expect(supersedes(a, b) && supersedes(b, a)).toBe(false);
      }),
    );
  });

  it("comes out alike whatever the order and the repetitions, but for which of two ends came first", () => {
    fc.assert(
      fc.property(fc.array(standing, { minLength: 1, maxLength: 20 }), fc.infiniteStream(fc.nat()), (events, order) => {
        const shuffled = [...events, ...events]
          .map((event) => ({ event, key: order.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ event }) => event);
        const one = fold(events);
        const other = fold(shuffled);
        if (one === undefined || other === undefined) throw new Error("nothing came out");
        expect(runOfVersion(other.version)).toBe(runOfVersion(one.version));
        expect(isTerminal(other.state)).toBe(isTerminal(one.state));
        if (!isTerminal(one.state)) expect(other).toEqual(one);
      }),
    );
  });

  it("keeps the first end until a replay", () => {
    const dead = at(1, 3, JobState.DEAD);
    expect(supersedes(at(1, 3, JobState.SUCCEEDED), dead)).toBe(false);
    expect(supersedes(at(1, 4, JobState.QUEUED), dead)).toBe(false);
    expect(supersedes(at(2, 1, JobState.QUEUED), dead)).toBe(true);
  });

  it("takes an end of whatever attempt for the end of the run", () => {
    expect(supersedes(at(1, 1, JobState.CANCELLED), at(1, 2, JobState.QUEUED))).toBe(true);
  });

  it("lets a job that was published anew wait again", () => {
    expect(supersedes(at(1, 1, JobState.SCHEDULED, 1), at(1, 1, JobState.QUEUED))).toBe(true);
    expect(supersedes(at(1, 1, JobState.QUEUED, 1), at(1, 1, JobState.SCHEDULED, 1))).toBe(true);
  });
});
