import type { HandlerContext } from "@connectrpc/connect";
import { isOwner } from "@millrace/protocol";
import { callerOf } from "@millrace/rpc";

/** The user whose jobs a call submits, as the gateway says; "" for what comes from no gateway, or from one without identities. */
export function ownerOf(call: HandlerContext): string {
  const subject = callerOf(call)?.subject ?? "anonymous";
  return subject === "anonymous" || !isOwner(subject) ? "" : subject;
}
