import { BusError, type PublishAck } from "@millrace/bus";
import type { SubmitJobRequest } from "@millrace/protocol";
import { currentTraceparent, SpanKind, tracingEnabled, withSpan } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { toJobMessage } from "./job-message.ts";

export interface AcceptedJob {
  readonly id: string;
  /** The stream had this id already. */
  readonly duplicate: boolean;
}

/**
 * Publishes one job; it is durable when this resolves.
 * @throws MillraceError already_exists (unique key), out_of_range (too large), resource_exhausted (stream full),
 * unavailable (accepted or not: submit it again with the same id)
 */
export function acceptJob(
  context: ControlContext,
  request: SubmitJobRequest,
  traceparent: string,
  reply: string,
): Promise<AcceptedJob> {
  if (!tracingEnabled()) return accept(context, request, traceparent, reply);
  const attributes = { "millrace.queue": request.queue || "default", "millrace.type": request.type };
  // The job's own trace goes on from this span: through the headers to the worker, and to its row.
  return withSpan("submit job", { kind: SpanKind.PRODUCER, traceparent, attributes }, () =>
    accept(context, request, currentTraceparent() ?? traceparent, reply),
  );
}

async function accept(
  context: ControlContext,
  request: SubmitJobRequest,
  traceparent: string,
  reply: string,
): Promise<AcceptedJob> {
  context.pressure.admit();
  const message = toJobMessage(request, traceparent, reply, Date.now());
  if (request.uniqueKey !== "") await context.uniqueKeys.acquire(request.uniqueKey, message.id);
  let ack: PublishAck;
  try {
    ack = await context.bus.publishDurable(message.subject, message.data, message.headers);
  } catch (error) {
    // After `unavailable` the job may be stored, and then it needs its key.
    if (request.uniqueKey !== "" && error instanceof BusError && error.code !== "unavailable") {
      await context.uniqueKeys.release(request.uniqueKey, message.id);
    }
    throw error;
  }
  const { duplicate } = ack;
  if (!duplicate) {
    const { stream, seq } = ack;
    const bytes = message.data.length;
    context.recent.add(message.id, { request, runAtMs: message.runAtMs, bytes, place: { stream, seq } });
  }
  return { id: message.id, duplicate };
}
