import { CommanderError } from "commander";
import { JobState, MillraceError, type ErrorCode } from "@millrace/protocol";

/** What the process ends with; part of the command's contract. */
export const exitCodes = {
  ok: 0,
  jobFailed: 1,
  usage: 2,
  notFound: 3,
  refused: 4,
  unreachable: 5,
  timedOut: 6,
  denied: 7,
  internal: 70,
  interrupted: 130,
} as const;

export const exitCodeHelp = `
Exit codes:
  0    done; with --wait: the job succeeded
  1    the job, the call or a test failed; a demo whose result is not as it should be
  2    wrong usage, or a request that breaks a rule
  3    no such job, queue or plugin
  4    refused: a conflict with the present state, a limit, a module or source that does not pass
  5    the server cannot be reached, or is not ready
  6    the time to wait is over; the job goes on
  7    not logged in, or not allowed; a key or token that others may read
  70   a fault of this command or of the server
  130  interrupted
`;

const byErrorCode: Readonly<Record<ErrorCode, number>> = {
  canceled: exitCodes.interrupted,
  unknown: exitCodes.internal,
  invalid_argument: exitCodes.usage,
  deadline_exceeded: exitCodes.timedOut,
  not_found: exitCodes.notFound,
  already_exists: exitCodes.refused,
  permission_denied: exitCodes.denied,
  resource_exhausted: exitCodes.refused,
  failed_precondition: exitCodes.refused,
  aborted: exitCodes.refused,
  out_of_range: exitCodes.usage,
  unimplemented: exitCodes.internal,
  internal: exitCodes.internal,
  unavailable: exitCodes.unreachable,
  data_loss: exitCodes.internal,
  unauthenticated: exitCodes.denied,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof MillraceError) return byErrorCode[error.code];
  // Help and version end by an exception too, with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  return exitCodes.internal;
}

export function exitCodeOfState(state: JobState): number {
  return state === JobState.SUCCEEDED ? exitCodes.ok : exitCodes.jobFailed;
}
