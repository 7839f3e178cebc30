import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JobState, isTerminal, supersedes, type JobPosition } from "./index.ts";

const position = fc.record({
  attempt: fc.integer({ min: 1, max: 6 }),
  state: fc.constantFrom(
    JobState.SCHEDULED,
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.RETRYING,
    JobState.SUCCEEDED,
    JobState.DEAD,
    JobState.CANCELLED,
    JobState.EXPIRED,
  ),
});

function fold(events: readonly JobPosition[]): JobPosition | undefined {
  let row: JobPosition | undefined;
  for (const event of events) if (row === undefined || supersedes(event, row)) row = event;
  return row;
}

describe("supersedes", () => {
  it("never lets a position follow itself, nor two follow each other", () => {
    fc.assert(
      fc.property(position, position, (a, b) => {
        expect(supersedes(a, a)).toBe(false);
        expect(supersedes(a, b) && supersedes(b, a)).toBe(false);
      }),
    );
  });

  it("ends in the same attempt and rank whatever the order and the repetitions", () => {
    fc.assert(
      fc.property(fc.array(position, { minLength: 1, maxLength: 20 }), fc.infiniteStream(fc.nat()), (events, order) => {
        const shuffled = [...events, ...events]
          .map((event) => ({ event, key: order.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ event }) => event);
        const one = fold(events)!;
        const other = fold(shuffled)!;
        expect(other.attempt).toBe(one.attempt);
        expect(isTerminal(other.state)).toBe(isTerminal(one.state));
        if (!isTerminal(one.state)) expect(other.state).toBe(one.state);
      }),
    );
  });

  it("keeps the first terminal state until a replay", () => {
    const dead = { attempt: 3, state: JobState.DEAD };
    expect(supersedes({ attempt: 3, state: JobState.SUCCEEDED }, dead)).toBe(false);
    expect(supersedes({ attempt: 2, state: JobState.SUCCEEDED }, dead)).toBe(false);
    expect(supersedes({ attempt: 4, state: JobState.QUEUED }, dead)).toBe(true);
  });
});
