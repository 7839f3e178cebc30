/**
 * The closed set of error codes: Connect's sixteen (https://connectrpc.com/docs/protocol#error-codes), each with its
 * gRPC number and the HTTP status that REST answers with.
 */
export const errorTable = {
  canceled: { grpc: 1, http: 499 },
  unknown: { grpc: 2, http: 500 },
  invalid_argument: { grpc: 3, http: 400 },
  deadline_exceeded: { grpc: 4, http: 504 },
  not_found: { grpc: 5, http: 404 },
  already_exists: { grpc: 6, http: 409 },
  permission_denied: { grpc: 7, http: 403 },
  resource_exhausted: { grpc: 8, http: 429 },
  failed_precondition: { grpc: 9, http: 422 },
  aborted: { grpc: 10, http: 409 },
  out_of_range: { grpc: 11, http: 413 },
  unimplemented: { grpc: 12, http: 501 },
  internal: { grpc: 13, http: 500 },
  unavailable: { grpc: 14, http: 503 },
  data_loss: { grpc: 15, http: 500 },
  unauthenticated: { grpc: 16, http: 401 },
} as const;

export type ErrorCode = keyof typeof errorTable;

/** One field of a request that is wrong, and why. */
export interface ErrorDetail {
  readonly field: string;
  readonly reason: string;
}

/** The body of every refusal by REST and request-reply. */
export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly details: readonly ErrorDetail[];
    readonly requestId: string;
  };
}

/** An error a caller may see: its code, words and fields are part of the contract. */
export class MillraceError extends Error {
  readonly code: ErrorCode;
  readonly details: readonly ErrorDetail[];
  /** With resource_exhausted and unavailable: when trying again makes sense, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: readonly ErrorDetail[]; cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "MillraceError";
    this.code = code;
    this.details = options.details ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** How an attempt can fail: the closed set of JobError codes. */
export const jobErrorCodes = [
  "HANDLER_FAILED",
  "HANDLER_GONE",
  "TIMED_OUT",
  "DEADLINE_EXCEEDED",
  "OUT_OF_FUEL",
  "OUT_OF_MEMORY",
  "TRAPPED",
  "OUTPUT_TOO_LARGE",
  "HOST_DENIED",
  "CRASHED",
  "POISONED",
  "CANCELLED",
  "SUBMISSION_LOST",
] as const;

export type JobErrorCode = (typeof jobErrorCodes)[number];
