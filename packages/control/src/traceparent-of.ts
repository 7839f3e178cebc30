import type { HandlerContext } from "@connectrpc/connect";
import { CallContext } from "@millrace/rpc";
import { currentTraceparent } from "@millrace/service-kit";

/** The span of this call, else the caller's trace, to be carried on by the job; "" without one. */
export function traceparentOf(call: HandlerContext): string {
  const current = currentTraceparent();
  if (current !== undefined) return current;
  if (call instanceof CallContext) return call.traceparent ?? "";
  return call.requestHeader.get("traceparent") ?? "";
}
