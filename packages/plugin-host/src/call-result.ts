import type { JobErrorCode } from "@millrace/protocol";
import type { Breach } from "./breach.ts";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export interface LogEntry {
  readonly level: LogLevel;
  readonly text: string;
}

/** All that one call learned from outside besides its input, in order: enough to run it again, bit for bit. */
export interface CallRecording {
  readonly answers: readonly RecordedAnswer[];
  /** More was learned than is kept: the call cannot be run again, and there are no answers. */
  readonly truncated: boolean;
}

export interface RecordedAnswer {
  /** A HostFunction, or `clock`, `random` or `context`. */
  readonly function: string;
  /** As encodeAnswer wrote it, for a HostFunction; else the bytes that the plugin got. */
  readonly answer: Uint8Array;
}

interface CallFigures {
  /** Wall time, waiting included. */
  readonly durationUs: number;
  /** Of it, the time that the call held its thread. */
  readonly executedUs: number;
  readonly logs: readonly LogEntry[];
  /** Units used; 0 for a call that never entered the module. */
  readonly fuel: number;
  /** Of the linear memory when the call ended, which is the most that it had: memory only grows. 0 as with fuel. */
  readonly memoryBytes: number;
  /** Kept when it was asked for. */
  readonly recording?: CallRecording;
}

/** How one call ended. A plugin that fails is an expected result, so it is a value. */
export type CallResult =
  | (CallFigures & { readonly ok: true; readonly output: Uint8Array })
  | (CallFigures & {
      readonly ok: false;
      readonly code: JobErrorCode;
      /** For a person: what happened, with the figure and the limit. */
      readonly message: string;
      /** False when another attempt at the same input cannot end otherwise. */
      readonly retryable: boolean;
      /** Set when a limit ended the call. */
      readonly breach?: Breach;
    });

/** Failures of the module or its limits, which only another module or other limits change. */
const permanentCodes: ReadonlySet<JobErrorCode> = new Set(["HANDLER_GONE", "HOST_DENIED", "OUTPUT_TOO_LARGE"]);

export function failedCall(
  failure: { readonly code: JobErrorCode; readonly message: string; readonly breach?: Breach | undefined },
  figures: CallFigures,
): CallResult {
  const { code, message, breach } = failure;
  const retryable = !permanentCodes.has(code);
  return { ok: false, code, message, retryable, ...(breach === undefined ? {} : { breach }), ...figures };
}

/** A result for a call that never entered the module. */
export function refusedCall(code: JobErrorCode, message: string, breach?: Breach): CallResult {
  return failedCall({ code, message, breach }, { durationUs: 0, executedUs: 0, logs: [], fuel: 0, memoryBytes: 0 });
}
