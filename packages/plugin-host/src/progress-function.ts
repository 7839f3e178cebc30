import type { CallContext } from "@extism/extism";
import type { CallState, InstanceCall } from "./call-state.ts";
import type { HostMemory } from "./host-memory.ts";

/** A call reports no more often; what comes in between is left out, so that a flood costs nothing. */
const PROGRESS_INTERVAL_MS = 100;
const MAX_TEXT_BYTES = 1024;

export function progressFunction(
  state: CallState,
  memory: HostMemory,
): (context: CallContext, percent: number, text: bigint) => void {
  let last: { readonly call: InstanceCall; readonly atMs: number } | undefined;
  return (context, percent, text) => {
    state.checkDeadline();
    const message = text === 0n ? "" : memory.readText(context, text, MAX_TEXT_BYTES);
    const nowMs = performance.now();
    if (last?.call === state.call && nowMs - last.atMs < PROGRESS_INTERVAL_MS) return;
    last = { call: state.call, atMs: nowMs };
    const bounded = Math.min(100, Math.max(0, Number.isNaN(percent) ? 0 : percent));
    state.call.answers.tell({ function: "progress", meta: { percent: bounded, message } });
  };
}
