import { BusError, type PublishAck } from "@millrace/bus";
import type { SubmitJobRequest } from "@millrace/protocol";
import { currentTraceparent, SpanKind, tracingEnabled, withSpan } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { toJobMessage, type JobMessage } from "./job-message.ts";
import { mayBeStored, withinBound } from "./within-bound.ts";
import type { LogPlace } from "./load-bounds.ts";

const firstRun = 1;
/** The log takes one message of an id that a client chose, and refuses the next: the subject ends in it. */
const onlyFirst = ["Nats-Expected-Last-Subject-Sequence", "0"] as const;

export interface AcceptedJob {
  readonly id: string;
  /** This id had been accepted before. */
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
 * @throws MillraceError already_exists (unique key, or the id of another job), out_of_range (too large), resource_exhausted (stream full, the
 * owner's quota, or the queue's bound), unavailable (logs nearly full; or accepted or not: submit it again with the same id)
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
  const { bus, pressure, takenIds, queueBounds, quotas } = context;
  const message = toJobMessage(request, submission, bus.clock.nowMs());
  pressure.admit(message.log);
  const { id, queue, owner, data } = message;
  const store = () =>
    withinBound(queueBounds, queue, data.length, () =>
      withinBound(quotas, owner, data.length, () => publish(context, request, message)),
    );
  if (request.id === "") return store();
  return takenIds.alone(id, async () => ((await takenIds.isKnown(message)) ? { id, duplicate: true } : store()));
}

async function publish(
  context: ControlContext,
  request: SubmitJobRequest,
  message: JobMessage,
): Promise<AcceptedJob & { readonly place?: LogPlace }> {
  const { bus, uniqueKeys, recent, clockSamples } = context;
  const { id, owner, log, runAtMs, subject, data, headers } = message;
  const { uniqueKey } = request;
  if (uniqueKey !== "") await uniqueKeys.acquire(uniqueKey, { id, run: firstRun }, log);
  let ack: PublishAck;
  const sentMs = performance.now();
  try {
    ack = await bus.publishDurable(subject, data, request.id === "" ? headers : [...headers, onlyFirst]);
  } catch (error) {
    // Somebody else, in another process, had the same id stored a moment before.
    if (request.id !== "" && error instanceof BusError && error.code === "aborted") return { id, duplicate: true };
    // It needs its key if it is stored.
    if (uniqueKey !== "" && error instanceof BusError && !mayBeStored(error)) {
      await uniqueKeys.release(uniqueKey, { id, run: firstRun });
    }
    throw error;
  }
  if (ack.duplicate) return { id, duplicate: true };
  clockSamples.take(sentMs, performance.now(), log, ack.seq);
  const place = { stream: log, seq: ack.seq };
  recent.add(id, { request, owner, runAtMs, bytes: data.length, place });
  return { id, duplicate: false, place };
}
