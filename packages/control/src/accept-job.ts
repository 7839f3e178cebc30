import { BusError, type PublishAck } from "@millrace/bus";
import type { SubmitJobRequest } from "@millrace/protocol";
import { currentTraceparent, SpanKind, tracingEnabled, withSpan } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { toJobMessage, type JobMessage } from "./job-message.ts";
import { mayBeStored, withinQuota } from "./within-quota.ts";

export interface AcceptedJob {
  readonly id: string;
  /** The stream had this id already. */
  readonly duplicate: boolean;
}

/** What a job has from the call that brings it. */
export interface Submission {
  readonly traceparent: string;
  /** Where the worker sends the result; "" when nobody waits. */
  readonly reply: string;
  /** Id of the user whose job it is; "" for nobody's. */
  readonly owner: string;
}

/**
 * Publishes one job; it is durable when this resolves.
 * @throws MillraceError already_exists (unique key, or the id of another job), out_of_range (too large), resource_exhausted (stream full, or the owner's
 * quota), unavailable (accepted or not: submit it again with the same id)
 */
export function acceptJob(
  context: ControlContext,
  request: SubmitJobRequest,
  submission: Submission,
): Promise<AcceptedJob> {
  if (!tracingEnabled()) return accept(context, request, submission);
  const { traceparent } = submission;
  const attributes = { "millrace.queue": request.queue || "default", "millrace.type": request.type };
  // The job's own trace goes on from this span: through the headers to the worker, and to its row.
  return withSpan("submit job", { kind: SpanKind.PRODUCER, traceparent, attributes }, () =>
    accept(context, request, { ...submission, traceparent: currentTraceparent() ?? traceparent }),
  );
}

async function accept(
  context: ControlContext,
  request: SubmitJobRequest,
  submission: Submission,
): Promise<AcceptedJob> {
  context.pressure.admit();
  const message = toJobMessage(request, submission, Date.now());
  const { owner } = submission;
  const { id, queue, type } = message;
  if (request.id !== "") await context.takenIds.refuse(id, { queue, type, owner });
  return withinQuota(context, owner, message.data.length, () => publish(context, request, message, owner));
}

async function publish(
  context: ControlContext,
  request: SubmitJobRequest,
  message: JobMessage,
  owner: string,
): Promise<AcceptedJob> {
  if (request.uniqueKey !== "") await context.uniqueKeys.acquire(request.uniqueKey, message.id);
  let ack: PublishAck;
  try {
    ack = await context.bus.publishDurable(message.subject, message.data, message.headers);
  } catch (error) {
    // It needs its key if it is stored.
    if (request.uniqueKey !== "" && error instanceof BusError && !mayBeStored(error)) {
      await context.uniqueKeys.release(request.uniqueKey, message.id);
    }
    throw error;
  }
  const { duplicate } = ack;
  if (!duplicate) {
    const { stream, seq } = ack;
    const bytes = message.data.length;
    context.recent.add(message.id, { request, owner, runAtMs: message.runAtMs, bytes, place: { stream, seq } });
  }
  return { id: message.id, duplicate };
}
