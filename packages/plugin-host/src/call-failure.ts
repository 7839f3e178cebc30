import type { JobErrorCode } from "@millrace/protocol";
import type { Breach } from "./breach.ts";

/** How a call failed. Host functions throw it through the module, which may catch it, so CallState keeps it too. */
export class CallFailure extends Error {
  override readonly name = "CallFailure";
  readonly code: JobErrorCode;
  readonly breach: Breach | undefined;

  constructor(code: JobErrorCode, message: string, breach?: Breach) {
    super(message);
    this.code = code;
    this.breach = breach;
  }
}

export function timedOut(tookMs: number, limitMs: number): CallFailure {
  // Timers may fire a moment early.
  const figure = Math.max(Math.round(tookMs), limitMs);
  const breach = { resource: "time", figure, limit: limitMs, unit: "ms" } as const;
  return new CallFailure("TIMED_OUT", `took ${figure} ms; the limit is ${limitMs} ms`, breach);
}
