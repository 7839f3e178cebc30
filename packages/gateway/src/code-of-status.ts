import type { ErrorCode } from "@millrace/protocol";

const codes: Readonly<Record<number, ErrorCode>> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  404: "not_found",
  409: "aborted",
  413: "out_of_range",
  422: "failed_precondition",
  429: "resource_exhausted",
  501: "unimplemented",
  503: "unavailable",
  504: "deadline_exceeded",
};

/** The error code that tells most of an HTTP status of 400 and above: several codes share one. */
export function codeOfStatus(status: number): ErrorCode {
  return codes[status] ?? (status < 500 ? "permission_denied" : "internal");
}
