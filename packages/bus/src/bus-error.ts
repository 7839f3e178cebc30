import { MillraceError, type ErrorCode } from "@millrace/protocol";

/** A refusal by the broker, or by the way to it, in the closed set of codes. */
export class BusError extends MillraceError {
  /** JetStream's own `err_code`, 0 when there is none. */
  readonly natsCode: number;

  constructor(
    code: ErrorCode,
    message: string,
    options: { natsCode?: number; cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super(code, message, options);
    this.name = "BusError";
    this.natsCode = options.natsCode ?? 0;
  }
}

/** JetStream's `err_code`s that a decision hangs on (nats-server, server/errors.json). */
export const natsCodes = {
  /** "JetStream system temporarily unavailable": a cluster without a leader. */
  clusterNotAvailable: 10008,
  /** "JetStream cluster can not handle request": the leader is changing. */
  clusterNotLeader: 10009,
  noMessage: 10037,
  deleteFailed: 10057,
  streamNotFound: 10059,
  consumerNotFound: 10014,
  wrongLastSequence: 10071,
  /** The same without the sequence, from a server that does not know it. */
  wrongLastSequenceUntold: 10164,
  /** "expected last sequence per subject temporarily unavailable": others of the subject are being stored. */
  expectedNotReady: 10163,
  /** "duplicate message id is in process": the copy that was sent first is neither stored nor lost yet. */
  duplicateInProcess: 10158,
  /** Too much comes in at once; nothing is wrong with the message. */
  tooManyRequests: 10167,
  streamOffline: 10118,
  consumerOffline: 10119,
  storeFailed: 10077,
  messageTooLarge: 10054,
  insufficientResources: 10023,
  storageExceeded: 10047,
  /** By a create, of another configuration. */
  streamNameInUse: 10058,
  /** By an update. */
  cannotChange: 10052,
} as const;

/** The `error` member of a JetStream answer. */
export interface ApiErrorBody {
  readonly code: number;
  readonly natsCode: number;
  readonly description: string;
}

function errorCode(error: ApiErrorBody): ErrorCode {
  switch (error.natsCode) {
    case natsCodes.noMessage:
    case natsCodes.streamNotFound:
    case natsCodes.consumerNotFound:
      return "not_found";
    case natsCodes.wrongLastSequence:
    case natsCodes.wrongLastSequenceUntold:
      return "aborted";
    case natsCodes.clusterNotAvailable:
    case natsCodes.clusterNotLeader:
    case natsCodes.streamOffline:
    case natsCodes.consumerOffline:
    case natsCodes.duplicateInProcess:
    case natsCodes.expectedNotReady:
      return "unavailable";
    case natsCodes.messageTooLarge:
      return "out_of_range";
    case natsCodes.insufficientResources:
    case natsCodes.storageExceeded:
    case natsCodes.tooManyRequests:
      return "resource_exhausted";
    case natsCodes.storeFailed:
      // One code for "the stream's bound is reached" and for "the disk refused"; only the words differ.
      return /exceeded/.test(error.description) ? "resource_exhausted" : "unavailable";
  }
  if (error.code === 503) return "unavailable";
  if (error.code === 404) return "not_found";
  if (error.code === 400) return "failed_precondition";
  return "internal";
}

export function apiError(context: string, error: ApiErrorBody): BusError {
  const code = errorCode(error);
  return new BusError(code, `${context}: ${error.description}`, {
    natsCode: error.natsCode,
    ...(code === "resource_exhausted" ? { retryAfterMs: 1000 } : {}),
  });
}

/**
 * Whether the broker has refused, for now, what is worth another try: nothing of it was stored. No word of an answer that never
 * came, after which it may be stored or not.
 */
export function isRefusedForNow(error: BusError): boolean {
  return refusedForNow.has(error.natsCode);
}

const refusedForNow: ReadonlySet<number> = new Set([
  natsCodes.clusterNotAvailable,
  natsCodes.clusterNotLeader,
  natsCodes.streamOffline,
  natsCodes.consumerOffline,
  natsCodes.duplicateInProcess,
  natsCodes.expectedNotReady,
  natsCodes.tooManyRequests,
]);

export function noResponders(subject: string): BusError {
  return new BusError("unavailable", `nobody listens on ${subject}`, { retryAfterMs: 500 });
}

export function notConnected(): BusError {
  return new BusError("unavailable", "not connected to NATS", { retryAfterMs: 500 });
}

export function notAllowed(subject: string): BusError {
  return new BusError("permission_denied", `the broker refuses its user: it may not publish on ${subject}`);
}
