import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  EventKind,
  fromWirePayload,
  JobResultSchema,
  JobState,
  poisonedContent,
  type EventFields,
} from "@millrace/protocol";
import type { Breach } from "@millrace/plugin-host";
import type { Job } from "./job.ts";
import type { Outcome } from "./outcome.ts";

const mostProgressChars = 512;

/** What every event of a job says: enough to make its row from this event alone. */
function base(job: Job, kind: EventKind): EventFields {
  const { run, attempt, move, maxAttempts, traceparent, correlationId } = job.options;
  return {
    jobId: job.id,
    kind,
    run,
    attempt,
    move,
    maxAttempts,
    traceparent,
    queue: job.queue,
    type: job.type,
    priority: job.level,
    owner: job.owner,
    correlationId,
    atMs: job.clock.nowMs(),
    startedAtMs: job.startedAtMs,
    submittedAtMs: job.delivery.timestampMs,
    messageSeq: job.delivery.seq,
    fuel: job.fuel,
    plugin: job.plugin,
  };
}

export function startedEvent(job: Job): EventFields {
  return { ...base(job, EventKind.STARTED), atMs: job.startedAtMs };
}

/** A job that goes on: a view of it that stays. @param percent 0 to 100 */
export function progressEvent(job: Job, percent: number, message: string): EventFields {
  const done = `${Math.round(Math.max(0, Math.min(100, percent)) * 10) / 10} %`;
  const reason = (message === "" ? done : `${done} ${message}`).slice(0, mostProgressChars);
  return { ...base(job, EventKind.STARTED), reason };
}

export function parkedEvent(job: Job, reason: string): EventFields {
  return { ...base(job, EventKind.PARKED), reason };
}

export function succeededEvent(job: Job, outcome: Outcome, runUs: number): EventFields {
  const event = base(job, EventKind.SUCCEEDED);
  event.runUs = runUs;
  event.result = outcome.output;
  event.resultContentType = outcome.contentType;
  return event;
}

export function failedEvent(job: Job, kind: EventKind, outcome: Outcome, runUs: number): EventFields {
  const { breach } = outcome;
  return {
    ...base(job, kind),
    ...(breach === undefined
      ? {}
      : {
          breachResource: breach.resource,
          breachFigure: breach.figure,
          breachLimit: breach.limit,
          breachUnit: breach.unit,
        }),
    runUs,
    errorCode: outcome.code,
    errorMessage: outcome.message,
    errorRetryable: outcome.retryable,
    reason: kind === EventKind.CANCELLED ? outcome.message : "",
  };
}

/** A message that is no job that could run: its bytes are kept where an operator finds them. */
export function poisonedEvent(job: Job, outcome: Outcome): EventFields {
  return {
    ...failedEvent(job, EventKind.DEAD, outcome, 0),
    ...poisonedContent(job.delivery.data, job.delivery.headerBytes),
  };
}

const states: Partial<Record<EventKind, JobState>> = {
  [EventKind.SUCCEEDED]: JobState.SUCCEEDED,
  [EventKind.DEAD]: JobState.DEAD,
  [EventKind.CANCELLED]: JobState.CANCELLED,
  [EventKind.EXPIRED]: JobState.EXPIRED,
};

/** What a waiting caller gets for an event that ends a job; undefined when nobody waits or the job goes on. */
export function resultReply(
  job: Job,
  event: EventFields,
  breach: Breach | undefined,
): { subject: string; data: Uint8Array } | undefined {
  const subject = job.options.replyTo;
  const state = states[event.kind];
  if (subject === "" || state === undefined) return undefined;
  const failed = event.errorCode !== undefined && event.errorCode !== "";
  const result = create(JobResultSchema, {
    id: job.id,
    state,
    attempt: event.attempt,
    runUs: BigInt(Math.round(event.runUs ?? 0)),
    ...(event.result === undefined ? {} : { output: fromWirePayload(event.result, event.resultContentType ?? "") }),
    ...(failed
      ? {
          error: {
            code: event.errorCode ?? "",
            message: event.errorMessage ?? "",
            retryable: event.errorRetryable ?? false,
            attempt: event.attempt,
            at: timestampFromMs(event.atMs ?? 0),
            ...breachMessage(breach),
          },
        }
      : {}),
  });
  return { subject, data: toBinary(JobResultSchema, result) };
}

/** A breach as a field of a JobError; nothing when there was none. */
export function breachMessage(breach: Breach | undefined) {
  if (breach === undefined) return {};
  const { resource, figure, limit, unit } = breach;
  return { breach: { resource, figure: unsigned(figure), limit: unsigned(limit), unit } };
}

/** Figures come from executors, which run strangers' code: one that the wire cannot carry must not keep a job from ending. */
function unsigned(figure: number): bigint {
  return Number.isFinite(figure) ? BigInt(Math.min(Math.max(0, Math.round(figure)), Number.MAX_SAFE_INTEGER)) : 0n;
}
