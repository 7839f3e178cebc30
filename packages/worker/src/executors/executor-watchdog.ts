import { refusedCall, type CallResult } from "@millrace/plugin-host";
import type { Job } from "../job.ts";
import type { ExecutorHandle } from "./executor-handle.ts";
import type { PluginCall } from "./plugin-call.ts";

/** What a call may take beyond its time, before its executor is killed: the executor itself was to end it. */
const graceMs = 250;
/** What a cancelled call may take. */
const cancelGraceMs = 100;
const watchMs = 25;

export interface WatchdogEvents {
  /** A job was found running. */
  onBegun(job: Job): void;
  /** A call has been ended here. */
  onOverdue(call: PluginCall, result: CallResult): void;
  /** The call that was ended still executes. */
  onHang(message: string): void;
}

/** Watches one executor from outside: calls end when their time is over, even when it is deaf. */
export function startWatchdog(executor: ExecutorHandle, events: WatchdogEvents): Disposable {
  const timer = setInterval(() => watch(executor, events), watchMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function watch(executor: ExecutorHandle, events: WatchdogEvents): void {
  const nowMs = performance.now();
  const running = executor.running(nowMs);
  if (running !== undefined && !running.call.seen) {
    const { job } = running.call;
    running.call.seen = true;
    if (job !== undefined) {
      job.startedAtMs = job.clock.nowMs() - running.forMs;
      events.onBegun(job);
    }
  }
  for (const { callId, call, result, isExecuting } of findOverdue(executor, running, nowMs)) {
    executor.take(callId);
    events.onOverdue(call, result);
    if (isExecuting) events.onHang(`a call of ${call.version.label} held its executor`);
    else executor.drop(callId);
  }
}

interface OverdueCall {
  readonly callId: number;
  readonly call: PluginCall;
  /** How it ends. */
  readonly result: CallResult;
  /** It holds its executor, and only a kill ends it. */
  readonly isExecuting: boolean;
}

/** The calls of an executor that have outlasted their time, or their cancellation, and that it has not ended by itself. */
function findOverdue(
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
