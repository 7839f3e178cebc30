import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { HeaderList, OutgoingMessage } from "@millrace/bus";
import {
  BackoffKind,
  defaultBackoff,
  formatJobOptions,
  headerNames,
  isOwnJobId,
  isOwnQueue,
  jobStream,
  jobSubject,
  MillraceError,
  newJobId,
  ownIdPrefix,
  priorityName,
  priorityOrNormal,
  scheduleStream,
  scheduleSubject,
  sharedJobSubject,
  sharedScheduleSubject,
  toWirePayload,
  withOwner,
  type Backoff,
  type BackoffPolicy,
  type ErrorDetail,
  type PriorityName,
  type SubmitJobRequest,
} from "@millrace/protocol";
import type { Submission } from "./accept-job.ts";

/** A request as the message that is the job. */
export interface JobMessage extends OutgoingMessage {
  readonly id: string;
  readonly priority: PriorityName;
  readonly queue: string;
  readonly type: string;
  /** "" for nobody's. */
  readonly owner: string;
  /** The stream that it goes to. */
  readonly log: string;
  readonly headers: HeaderList;
  /** Unix ms; 0: at once. */
  readonly runAtMs: number;
}

const printable = /^[\x20-\x7e]*$/;

/**
 * An id that a client chose, or of a job with a unique key, is in the subject, where the log can be asked for it; others are in a
 * header, as a subject each would cost the broker memory and speed.
 * @throws MillraceError invalid_argument naming what cannot stand in a header; failed_precondition, also for what is Millrace's own
 */
export function toJobMessage(request: SubmitJobRequest, submission: Submission, nowMs: number): JobMessage {
  const { traceparent, reply, owner } = submission;
  const { type, uniqueKey } = request;
  refuseUnprintable(request);
  refuseOwn(request);
  const queue = request.queue === "" ? "default" : request.queue;
  const priority = priorityName(priorityOrNormal(request.priority));
  const runAtMs = timeMs(request.runAt);
  const deadlineMs = timeMs(request.deadline);
  if (deadlineMs !== 0 && deadlineMs <= Math.max(nowMs, runAtMs)) {
    throw new MillraceError("failed_precondition", "the deadline is over before the job may run", {
      details: [{ field: "deadline", reason: "must lie after run_at and in the future" }],
    });
  }
  const later = runAtMs > nowMs;
  const payload = toWirePayload(request.payload);
  const headers = formatJobOptions({
    ...(request.maxAttempts === 0 ? {} : { maxAttempts: request.maxAttempts }),
    timeoutMs: request.timeoutMs,
    ...(request.backoff === undefined ? {} : { backoff: toBackoffPolicy(request.backoff) }),
    runAtMs: later ? runAtMs : 0,
    deadlineMs,
    uniqueKey,
    tags: request.tags,
    correlationId: request.correlationId,
    replyTo: reply,
    contentType: payload.contentType,
    traceparent,
  });
  const id = request.id === "" ? newJobId(nowMs) : request.id;
  headers.push([headerNames.messageId, id]);
  const inSubject = request.id !== "" || uniqueKey !== "";
  if (!inSubject) headers.push([headerNames.id, id]);
  const shared = later ? sharedScheduleSubject : sharedJobSubject;
  const own = later ? scheduleSubject : jobSubject;
  return {
    id,
    priority,
    queue,
    type,
    owner,
    log: later ? scheduleStream : jobStream(priority),
    subject: inSubject ? withOwner(own(priority, queue, type, id), owner) : shared(priority, queue, type, owner),
    data: payload.bytes,
    headers,
    runAtMs: later ? runAtMs : 0,
  };
}
function refuseUnprintable(request: SubmitJobRequest): void {
  const details: ErrorDetail[] = [];
  const check = (field: string, text: string): void => {
    if (!printable.test(text)) details.push({ field, reason: "must be printable ASCII" });
  };
  check("unique_key", request.uniqueKey);
  check("payload.content_type", request.payload?.contentType ?? "");
  refuse("invalid_argument", details);
}

/** A plugin takes for a fact what comes by Millrace's own queues, and a job of ours waits for no other under its id. */
function refuseOwn({ id, queue }: SubmitJobRequest): void {
  const details: ErrorDetail[] = [];
  if (isOwnJobId(id)) details.push({ field: "id", reason: `ids that begin with ${ownIdPrefix} are Millrace's own` });
  if (isOwnQueue(queue)) details.push({ field: "queue", reason: `${queue} is Millrace's own` });
  refuse("failed_precondition", details);
}

function refuse(code: "invalid_argument" | "failed_precondition", details: readonly ErrorDetail[]): void {
  if (details.length === 0) return;
  throw new MillraceError(code, details.map(({ field, reason }) => `${field}: ${reason}`).join("; "), { details });
}

function timeMs(time: Timestamp | undefined): number {
  return time === undefined ? 0 : Math.max(1, timestampMs(time));
}

function toBackoffPolicy(backoff: Backoff): BackoffPolicy {
  return {
    kind: backoffKind(backoff.kind),
    baseMs: backoff.baseMs || defaultBackoff.baseMs,
    maxMs: backoff.maxMs || defaultBackoff.maxMs,
    jitter: backoff.jitterPercent === undefined ? defaultBackoff.jitter : backoff.jitterPercent / 100,
  };
}

function backoffKind(kind: BackoffKind): BackoffPolicy["kind"] {
  if (kind === BackoffKind.LINEAR) return "linear";
  return kind === BackoffKind.FIXED ? "fixed" : "exponential";
}
