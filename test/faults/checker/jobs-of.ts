import type { Evidence, Execution, HeardEvent, JobRow, Submission } from "./evidence.ts";
import { endKinds } from "./watch-observer.ts";
import { numberOf } from "./job-plan.ts";

/** Everything that is known of one job. */
export interface JobCase {
  readonly n: number;
  readonly submission: Submission;
  /** Whether somebody was told that it is stored. */
  readonly accepted: boolean;
  /** All rows that show its number in their payload, or have an id that its client knows. */
  readonly rows: readonly JobRow[];
  readonly executions: readonly Execution[];
  readonly stored: readonly HeardEvent[];
  readonly watched: readonly HeardEvent[];
}

export interface JobCases {
  readonly cases: readonly JobCase[];
  /** Rows that belong to no job that was submitted. */
  readonly strangers: readonly JobRow[];
  /** Runs of something that nobody has submitted. */
  readonly strangeRuns: readonly Execution[];
}

/** Puts together what belongs to each job: rows by their ids and payloads, executions by payloads, events by ids. */
export function casesOf(evidence: Evidence): JobCases {
  const rowsById = new Map(evidence.rows.map((row) => [row.id, row]));
  const rowsByNumber = Map.groupBy(evidence.rows, ({ payload }) => numberOf(payload));
  const executions = Map.groupBy(evidence.executions, ({ n }) => n);
  const runsOfOthers = Map.groupBy(executions.get(-1) ?? [], ({ id }) => id);
  const stored = Map.groupBy(evidence.stored, ({ jobId }) => jobId);
  const watched = Map.groupBy(evidence.watched, ({ jobId }) => jobId);
  const claimed = new Set<string>();
  const cases = evidence.submissions.map((submission): JobCase => {
    const { plan, sends } = submission;
    const ids = new Set(sends.flatMap(({ id, outcome }) => (id === undefined || outcome === "refused" ? [] : [id])));
    const byId = [...ids].flatMap((id) => rowsById.get(id) ?? []);
    const rows = [...new Set([...byId, ...(rowsByNumber.get(plan.n) ?? [])])];
    for (const { id } of rows) {
      claimed.add(id);
      ids.add(id);
    }
    return {
      n: plan.n,
      submission,
      accepted: sends.some(({ outcome }) => outcome === "accepted"),
      rows,
      executions: [...(executions.get(plan.n) ?? []), ...[...ids].flatMap((id) => runsOfOthers.get(id) ?? [])],
      stored: [...ids].flatMap((id) => stored.get(id) ?? []),
      watched: [...ids].flatMap((id) => watched.get(id) ?? []),
    };
  });
  return {
    cases,
    strangers: evidence.rows.filter(({ id }) => !claimed.has(id)),
    strangeRuns: [...runsOfOthers].flatMap(([id, runs]) => (claimed.has(id) ? [] : runs)),
  };
}

/** The events that end a job, in their order. */
export function endsOf(events: readonly HeardEvent[]): HeardEvent[] {
  return events.filter(({ kind }) => endKinds.has(kind));
}
