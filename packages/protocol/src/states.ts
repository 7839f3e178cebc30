import { EventKind, EventKindSchema } from "./gen/millrace/events/v1/events_pb.ts";
import { JobState, JobStateSchema } from "./gen/millrace/jobs/v1/job_pb.ts";

/**
 * How far a state is within one attempt. Events may arrive twice and late; a row takes an event only when it lies
 * further on, so that the order of arrival does not matter.
 */
const ranks: Readonly<Record<number, number>> = {
  [JobState.UNSPECIFIED]: -1,
  [JobState.SCHEDULED]: 0,
  [JobState.QUEUED]: 1,
  [JobState.RUNNING]: 2,
  [JobState.RETRYING]: 3,
  [JobState.SUCCEEDED]: 4,
  [JobState.DEAD]: 4,
  [JobState.CANCELLED]: 4,
  [JobState.EXPIRED]: 4,
};

export function stateRank(state: JobState): number {
  return ranks[state] ?? -1;
}

export function isTerminal(state: JobState): boolean {
  return stateRank(state) === 4;
}

/** Where a job stands: its run, its attempt within it, how often that was published anew, and the state. */
export interface JobPosition {
  readonly run: number;
  readonly attempt: number;
  readonly move: number;
  readonly state: JobState;
}

// A version is one number below 2^53: run (12 bits), attempt (20), move (16), rank with the bit for "parked" (4).
const moveUnit = 2 ** 4;
const attemptUnit = 2 ** 16 * moveUnit;
export const runUnit = 2 ** 20 * attemptUnit;

/**
 * `(run, attempt, move, rank)` as one number that orders as they do; a parked job stands between queued and running. Its bounds
 * are `maxRun`, `maxAttempt` and `maxMove`.
 */
export function jobVersion({ run, attempt, move, state }: JobPosition, parked = false): number {
  return run * runUnit + attempt * attemptUnit + move * moveUnit + stateRank(state) * 2 + (parked ? 1 : 0);
}

export function runOfVersion(version: number): number {
  return Math.floor(version / runUnit);
}

export function attemptOfVersion(version: number): number {
  return Math.floor((version % runUnit) / attemptUnit);
}

export function moveOfVersion(version: number): number {
  return Math.floor((version % attemptUnit) / moveUnit);
}

/** A state with its version: what a row, or an event, says of where a job stands. */
export interface JobStanding {
  readonly version: number;
  readonly state: JobState;
}

/**
 * The one rule of the read model. A later run supersedes an earlier one. Within a run the first end stays, any end outranks what
 * is not one, and else `(attempt, move, rank)` only grows. So a stale event changes nothing, the order of arrival does not matter
 * but for which of two ends came first in EVENTS, and only a replay leaves an end.
 */
export function supersedes(next: JobStanding, current: JobStanding): boolean {
  const nextRun = runOfVersion(next.version);
  const run = runOfVersion(current.version);
  if (nextRun !== run) return nextRun > run;
  if (isTerminal(current.state)) return false;
  return isTerminal(next.state) || next.version > current.version;
}

/** States from which an operator may run a job again. */
export function isReplayable(state: JobState): boolean {
  return state === JobState.DEAD || state === JobState.CANCELLED || state === JobState.EXPIRED;
}

/** The state that an event leads to; undefined for events that only annotate (parked, cancel requested). */
export function stateAfter(kind: EventKind): JobState | undefined {
  switch (kind) {
    case EventKind.SUBMITTED:
      return JobState.QUEUED;
    case EventKind.SCHEDULED:
      return JobState.SCHEDULED;
    case EventKind.STARTED:
      return JobState.RUNNING;
    case EventKind.SUCCEEDED:
      return JobState.SUCCEEDED;
    case EventKind.RETRIED:
      return JobState.RETRYING;
    case EventKind.DEAD:
      return JobState.DEAD;
    case EventKind.CANCELLED:
      return JobState.CANCELLED;
    case EventKind.EXPIRED:
      return JobState.EXPIRED;
    default:
      return undefined;
  }
}

/** Lower-case words for people and JSON: `queued`, `dead`, … */
export function stateName(state: JobState): string {
  return JobStateSchema.value[state]?.localName.toLowerCase() ?? "unspecified";
}

/** The past-tense word of an event: `submitted`, `retried`, … */
export function eventName(kind: EventKind): string {
  return EventKindSchema.value[kind]?.localName.toLowerCase() ?? "unspecified";
}
