import type { HandlerContext } from "@connectrpc/connect";
import { CallContext } from "@millrace/rpc";

/** The caller's trace, to be carried on by the job; "" without one. */
export function traceparentOf(call: HandlerContext): string {
  if (call instanceof CallContext) return call.traceparent ?? "";
  return call.requestHeader.get("traceparent") ?? "";
}
