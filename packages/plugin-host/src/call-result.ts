import type { JobErrorCode } from "@millrace/protocol";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export interface LogEntry {
  readonly level: LogLevel;
  readonly text: string;
}

/** How one call ended. A plugin that fails is an expected result, so it is a value. */
export type CallResult =
  | { readonly ok: true; readonly output: Uint8Array; readonly durationUs: number; readonly logs: readonly LogEntry[] }
  | {
      readonly ok: false;
      readonly code: JobErrorCode;
      /** For a person: what happened, with the figure and the limit. */
      readonly message: string;
      /** False when another attempt at the same input cannot end otherwise. */
      readonly retryable: boolean;
      readonly durationUs: number;
      readonly logs: readonly LogEntry[];
    };

/** Failures of the module or its limits, which only another module or other limits change. */
const permanentCodes: ReadonlySet<JobErrorCode> = new Set(["HANDLER_GONE", "HOST_DENIED", "OUTPUT_TOO_LARGE"]);

export function failedCall(
  code: JobErrorCode,
  message: string,
  { durationUs, logs }: { durationUs: number; logs: readonly LogEntry[] },
): CallResult {
  return { ok: false, code, message, retryable: !permanentCodes.has(code), durationUs, logs };
}

/** A result for a call that never entered the module. */
export function refusedCall(code: JobErrorCode, message: string): CallResult {
  return failedCall(code, message, { durationUs: 0, logs: [] });
}
