import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  headerNames,
  InvokePluginRequestSchema,
  InvokePluginResponseSchema,
  invokeSubject,
  MillraceError,
  type InvokePluginResponse,
} from "@millrace/protocol";
import { currentTraceparent } from "@millrace/service-kit";

/** Longest wait for a call that names no timeout of its own: the plugin's limit ends it much sooner. */
const longestInvokeMs = 60_000;
/** A worker's word that the call took too long must come before we give up on the worker. */
const answerGraceMs = 1_000;

export interface InvokeOptions {
  /** What the caller will wait; without it the request's own timeout, and a second for the way. */
  readonly waitMs?: number | undefined;
}

/**
 * Runs one export of a plugin on one of the workers. How the plugin fails is an answer, not an error.
 * @throws BusError unavailable (no worker runs plugins), deadline_exceeded, out_of_range (input too large);
 * MillraceError data_loss
 */
export async function invokePlugin(
  bus: Bus,
  request: MessageInitShape<typeof InvokePluginRequestSchema>,
  options: InvokeOptions = {},
): Promise<InvokePluginResponse> {
  const timeoutMs = Math.min((request.timeoutMs || longestInvokeMs) + answerGraceMs, options.waitMs ?? Infinity);
  const data = toBinary(InvokePluginRequestSchema, create(InvokePluginRequestSchema, request));
  const traceparent = currentTraceparent();
  const answer = await bus.request(invokeSubject, data, {
    timeoutMs,
    ...(traceparent === undefined ? {} : { headers: [[headerNames.traceparent, traceparent]] }),
  });
  try {
    return fromBinary(InvokePluginResponseSchema, answer.data.slice());
  } catch (error) {
    throw new MillraceError("data_loss", "a worker's answer does not decode", { cause: error });
  }
}
