import { isTerminal, JobState, jobVersion, runOfVersion, type JobOptions, type RowStanding } from "@millrace/protocol";

/** What a row says of a message that may have been delivered before. */
export type Standing = "due" | "ended" | "moved";

/**
 * Whether a message still counts. `ended`: its run, or a later one, has come to an end. `moved`: a newer message of the job is known,
 * which will be run or has been. Both may be acked unrun. A job without a row is due: nobody knows of an end.
 */
export function judgeStanding(
  { run, attempt, move }: Pick<JobOptions, "run" | "attempt" | "move">,
  row: RowStanding | undefined,
): Standing {
  if (row === undefined) return "due";
  if (isTerminal(row.state) && runOfVersion(row.version) >= run) return "ended";
  return row.placeVersion > jobVersion({ run, attempt, move, state: JobState.QUEUED }) ? "moved" : "due";
}
