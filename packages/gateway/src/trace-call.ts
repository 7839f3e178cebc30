import type { CallContext } from "@millrace/rpc";
import { SpanKind, withSpan } from "@millrace/service-kit";

/** Runs a call inside a span that continues the caller's trace. */
export function traceCall<T>(call: CallContext, run: () => T | Promise<T>): Promise<T> {
  const name = `${call.service.typeName}/${call.method.name}`;
  const attributes = {
    "rpc.system": call.protocolName,
    "rpc.service": call.service.typeName,
    "rpc.method": call.method.name,
  };
  return withSpan(name, { kind: SpanKind.SERVER, traceparent: call.traceparent, attributes }, async () => run());
}
