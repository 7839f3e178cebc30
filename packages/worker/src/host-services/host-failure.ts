import type { Breach } from "@millrace/plugin-host";
import type { JobErrorCode } from "@millrace/protocol";

/** Why a host function did not do what it was asked. */
export class HostFailure extends Error {
  override readonly name = "HostFailure";
  readonly code: JobErrorCode;
  readonly breach: Breach | undefined;
  /** Ends the call with this code; otherwise the plugin gets an error that it can handle. */
  readonly fatal: boolean;

  constructor(
    code: JobErrorCode,
    message: string,
    options: { readonly breach?: Breach; readonly fatal: boolean; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.breach = options.breach;
    this.fatal = options.fatal;
  }
}

/** The plugin reached for what it was not granted, or what nobody is granted. */
export function denied(message: string): HostFailure {
  return new HostFailure("HOST_DENIED", message, { fatal: true });
}

/** A bound on what the host does for a call was run into. */
export function exceeded(breach: Breach, options: { fatal: boolean; code?: JobErrorCode }): HostFailure {
  const { resource, figure, limit, unit } = breach;
  const message = `${resource}: ${figure} ${unit}; the limit is ${limit}`;
  return new HostFailure(options.code ?? "HOST_DENIED", message, { breach, fatal: options.fatal });
}

/** The world outside did not do its part; the plugin may try again, or do without. */
export function unavailable(message: string, cause?: unknown): HostFailure {
  return new HostFailure("HANDLER_FAILED", message, { fatal: false, cause });
}

/** What the plugin asked for makes no sense. */
export function badRequest(message: string): HostFailure {
  return new HostFailure("HANDLER_FAILED", message, { fatal: false });
}
