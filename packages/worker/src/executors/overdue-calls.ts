import { refusedCall, type CallResult } from "@millrace/plugin-host";
import type { ExecutorHandle } from "./executor-handle.ts";
import type { PluginCall } from "./plugin-call.ts";

/** What a call may take beyond its time, before its executor is killed: the executor itself was to end it. */
const graceMs = 250;
/** What a cancelled call may take. */
const cancelGraceMs = 100;

interface OverdueCall {
  readonly callId: number;
  readonly call: PluginCall;
  /** How it ends. */
  readonly result: CallResult;
  /** It holds its executor, and only a kill ends it. */
  readonly isExecuting: boolean;
}

/** The calls of an executor that have outlasted their time, or their cancellation, and that it has not ended by itself. */
export function findOverdue(
  executor: ExecutorHandle,
  running: { readonly call: PluginCall; readonly forMs: number } | undefined,
  nowMs: number,
): OverdueCall[] {
  const overdue: OverdueCall[] = [];
  for (const [callId, call] of executor.open) {
    const isExecuting = call === running?.call;
    // Of one that waits, the time since its first question is the least it has been open.
    const forMs = Math.max(isExecuting ? running.forMs : 0, nowMs - call.askedMs);
    if (call.cancelledMs + cancelGraceMs <= nowMs) {
      if (isExecuting || call.askedMs < Infinity) {
        overdue.push({
          callId,
          call,
          result: { ...refusedCall("CANCELLED", "cancelled"), durationUs: forMs * 1000 },
          isExecuting,
        });
      }
    } else if (forMs > call.timeoutMs + graceMs) {
      overdue.push({ callId, call, result: timedOut(call, forMs), isExecuting });
    }
  }
  return overdue;
}

function timedOut({ timeoutMs }: PluginCall, forMs: number): CallResult {
  const breach = { resource: "time", figure: Math.round(forMs), limit: timeoutMs, unit: "ms" } as const;
  const failure = refusedCall("TIMED_OUT", `the call ran longer than its ${timeoutMs} ms`, breach);
  return { ...failure, durationUs: forMs * 1000 };
}
