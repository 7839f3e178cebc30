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
  readonly attempt: number;
  readonly queue: string;
  readonly type: string;
  readonly priority: number;
  /** Unix ms. */
  readonly atMs: number;
  readonly worker: string;
  /** Known for submissions only. */
  readonly correlationId: string;
  /** The rest, for events that came in a batch. */
  readonly detail: JobEvent | undefined;
}

/** As a watcher sees it. */
export function viewOf(event: JobEventAt): JobEventView {
  const { detail } = event;
  const at = timestampFromMs(Math.round(event.atMs));
  return create(JobEventViewSchema, {
    jobId: event.jobId,
    kind: eventName(event.kind),
    state: stateAfter(event.kind) ?? JobState.UNSPECIFIED,
    attempt: event.attempt,
    at,
    queue: event.queue,
    type: event.type,
    priority: priorityOf(event.priority),
    worker: event.worker,
    reason: detail?.reason ?? "",
    plugin: detail?.plugin ?? "",
    fuel: BigInt(Math.round(detail?.fuel ?? 0)),
    ...(detail === undefined || detail.errorCode === ""
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
    ...(detail === undefined || detail.result.length === 0
      ? {}
      : { result: fromWirePayload(detail.result, detail.resultContentType) }),
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
