import {
  EventKind,
  isTerminal,
  JobState,
  jobStream,
  jobVersion,
  Priority,
  priorityLevels,
  priorityName,
  stateAfter,
} from "@millrace/protocol";
import { maxShownName } from "./patch-from-job.ts";
import type { BatchEvent } from "./read-event-batch.ts";
import type { EventPosition, JobFailure, JobPatch } from "@millrace/store";

const knownPriorities = new Map<number, Priority>(priorityLevels.map((level) => [level, level]));
const noFailures: JobPatch["failures"] = [];

/** What an event of a batch changes in its job's row. @param source who published the batch */
export function patchFromEvent(event: BatchEvent, source: string, position: EventPosition): JobPatch {
  const { kind, attempt, move, atMs } = event;
  const run = Math.max(1, event.run);
  const moved = stateAfter(kind);
  const parked = kind === EventKind.PARKED;
  const state = moved ?? JobState.QUEUED;
  const terminal = isTerminal(state);
  const ended = terminal || state === JobState.RETRYING;
  const place = placeOf(event, run);
  return {
    id: event.jobId,
    queue: event.queue.slice(0, maxShownName),
    type: event.type.slice(0, maxShownName),
    priority: knownPriorities.get(event.priority) ?? Priority.UNSPECIFIED,
    // A request to cancel only annotates: the row's state is another event's to tell.
    version: moved === undefined && !parked ? -1 : jobVersion({ run, attempt, move, state }, parked),
    state,
    attempt,
    worker: ended || kind === EventKind.STARTED ? source : "",
    startedAtMs: event.startedAtMs,
    finishedAtMs: terminal ? atMs : 0,
    runUs: event.runUs,
    result: kind === EventKind.SUCCEEDED ? event.result : undefined,
    resultContentType: event.resultContentType,
    waitReason: parked ? event.reason : "",
    updatedAtMs: atMs,
    dueAtMs: 0,
    eventSeq: position.seq,
    eventIndex: position.index,
    submission:
      event.payload.length === 0 && event.rawHeaders === ""
        ? undefined
        : {
            payload: event.payload,
            contentType: "",
            headers: {},
            tags: [],
            correlationId: "",
            uniqueKey: "",
            rawHeaders: event.rawHeaders,
          },
    place,
    ofMessage: place !== undefined,
    traceparent: event.traceparent,
    submittedAtMs: event.submittedAtMs > 0 ? event.submittedAtMs : atMs,
    maxAttempts: event.maxAttempts,
    runAtMs: event.nextRunAtMs,
    failures:
      event.errorCode === ""
        ? noFailures
        : [
            {
              ...(run === 1 ? {} : { run }),
              attempt,
              code: event.errorCode,
              message: event.errorMessage,
              retryable: event.errorRetryable,
              atMs,
              ...breachOf(event),
            },
          ],
    ...ranBy(event),
    cancelRequestedAtMs: kind === EventKind.CANCEL_REQUESTED ? atMs : 0,
  };
}

/** Where the message lies that the event tells of: of two under one id each has its own. */
function placeOf({ messageSeq: seq, priority, attempt, move }: BatchEvent, run: number): JobPatch["place"] {
  const level = knownPriorities.get(priority);
  if (seq === 0 || level === undefined) return undefined;
  const stream = jobStream(priorityName(level));
  return { stream, seq, version: jobVersion({ run, attempt, move, state: JobState.QUEUED }) };
}

function breachOf(event: BatchEvent): Pick<JobFailure, "breach"> {
  const { breachResource: resource, breachFigure: figure, breachLimit: limit, breachUnit: unit } = event;
  return resource === "" ? {} : { breach: { resource, figure, limit, unit } };
}

function ranBy({ plugin, fuel }: BatchEvent): Pick<JobPatch, "plugin" | "fuel"> {
  return plugin === "" ? {} : { plugin, fuel };
}
