import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  eventName,
  fromWirePayload,
  JobErrorSchema,
  JobEventViewSchema,
  JobState,
  priorityLevels,
  stateAfter,
  type EventKind,
  type JobEvent,
  type JobEventView,
  type Priority,
} from "@millrace/protocol";
import { formatPosition, type EventPosition } from "@millrace/store";

/** One event with its place in EVENTS. */
export interface JobEventAt {
  readonly position: EventPosition;
  readonly jobId: string;
  readonly kind: EventKind;
  readonly run: number;
  readonly attempt: number;
  readonly move: number;
  readonly queue: string;
  readonly type: string;
  readonly priority: number;
  /** Unix ms. */
  readonly atMs: number;
  /** Who says it; "" for what a log says. */
  readonly worker: string;
  /** "" for nobody's. */
  readonly owner: string;
  readonly correlationId: string;
  /** The rest. */
  readonly detail: JobEvent;
}

/** As a watcher sees it. */
export function viewOf(event: JobEventAt): JobEventView {
  const { detail } = event;
  const at = timestampFromMs(Math.round(event.atMs));
  return create(JobEventViewSchema, {
    jobId: event.jobId,
    kind: eventName(event.kind),
    state: stateAfter(event.kind) ?? JobState.UNSPECIFIED,
    run: event.run,
    attempt: event.attempt,
    owner: event.owner,
    correlationId: event.correlationId,
    at,
    queue: event.queue,
    type: event.type,
    priority: priorityOf(event.priority),
    worker: event.worker,
    reason: detail.reason,
    plugin: detail.plugin,
    fuel: BigInt(Math.round(detail.fuel)),
    ...(detail.errorCode === ""
      ? {}
      : {
          error: create(JobErrorSchema, {
            code: detail.errorCode,
            message: detail.errorMessage,
            retryable: detail.errorRetryable,
            attempt: event.attempt,
            at,
            ...breachOf(detail),
          }),
        }),
    ...(detail.result.length === 0 ? {} : { result: fromWirePayload(detail.result, detail.resultContentType) }),
  });
}

function breachOf(event: JobEvent): Pick<MessageInitShape<typeof JobErrorSchema>, "breach"> {
  const { breachResource: resource, breachFigure, breachLimit, breachUnit: unit } = event;
  if (resource === "") return {};
  return {
    breach: { resource, figure: BigInt(Math.round(breachFigure)), limit: BigInt(Math.round(breachLimit)), unit },
  };
}

export function positionOf(event: JobEventAt): string {
  return formatPosition(event.position);
}

function priorityOf(level: number): Priority {
  return priorityLevels.find((known) => known === level) ?? 0;
}
