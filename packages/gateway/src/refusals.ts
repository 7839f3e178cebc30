import { Code, ConnectError } from "@millrace/rpc";
import type { Metrics } from "@millrace/service-kit";

/** Why a door refused. One word each, for the counter; the caller hears less. */
export type RefusalReason =
  | "unauthenticated"
  | "invalid_token"
  | "revoked"
  | "csrf"
  | "permission"
  | "scope"
  | "rate_limit"
  | "quota"
  | "streams"
  | "identity_away"
  | "audit_away"
  | "body_size"
  | "slow_body"
  | "origin"
  | "overloaded"
  | "connections"
  | "address_connections"
  | "slow_headers"
  | "header_size"
  | "malformed"
  | "slow_reader"
  | "resets"
  | "flood"
  | "abuse";

export type Refusals = ReturnType<typeof createRefusals>;

/** Makes the errors that doors answer with, and counts each. */
export function createRefusals(metrics: Pick<Metrics, "refusals">) {
  const limits = new WeakSet<object>();
  const aways = new WeakSet<object>();
  const count = (reason: RefusalReason): void => metrics.refusals.labels({ reason }).inc();
  return {
    count,
    /** One text for whatever is wrong with credentials: which it was would help whoever guesses. */
    unauthenticated(reason: RefusalReason, cause?: unknown): ConnectError {
      count(reason);
      const metadata = { "www-authenticate": "Bearer" };
      return new ConnectError("valid credentials are needed", Code.Unauthenticated, metadata, undefined, cause);
    },
    denied(reason: RefusalReason, message: string): ConnectError {
      count(reason);
      return new ConnectError(message, Code.PermissionDenied);
    },
    limited(reason: RefusalReason, message: string, headers: Record<string, string>): ConnectError {
      count(reason);
      const error = new ConnectError(message, Code.ResourceExhausted, headers);
      limits.add(error);
      return error;
    },
    /** Whether a door refused for how much was asked, and nobody has looked at what. */
    isLimit: (error: unknown): boolean => error instanceof ConnectError && limits.has(error),
    away(reason: RefusalReason, message: string, cause?: unknown): ConnectError {
      count(reason);
      const error = new ConnectError(message, Code.Unavailable, { "retry-after": "1" }, undefined, cause);
      aways.add(error);
      return error;
    },
    /** Whether a door refused because somebody behind it did not answer. */
    isAway: (error: unknown): boolean => error instanceof ConnectError && aways.has(error),
  };
}
