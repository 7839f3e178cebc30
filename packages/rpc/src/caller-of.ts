import type { HandlerContext } from "@connectrpc/connect";
import { callerHeader, decodeCaller, type CallerInfo } from "@millrace/protocol";
import { callOf } from "./call-context.ts";

/** Who a gateway calls for; undefined when the call comes from no gateway, or from one without identities. */
export function callerOf(context: HandlerContext): CallerInfo | undefined {
  const header = callOf(context).header(callerHeader);
  return header === undefined ? undefined : decodeCaller(header);
}
