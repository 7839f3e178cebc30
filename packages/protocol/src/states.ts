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

/** Where a job stands: its attempt, and the state within it. */
export interface JobPosition {
  readonly attempt: number;
  readonly state: JobState;
}

/**
 * The one rule of the read model: `(attempt, rank)` only grows. So the first terminal state of an attempt stays, a
 * stale event changes nothing, and only a replay (a higher attempt) leaves a terminal state.
 */
export function supersedes(next: JobPosition, current: JobPosition): boolean {
  if (next.attempt !== current.attempt) return next.attempt > current.attempt;
  return stateRank(next.state) > stateRank(current.state);
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
