import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  commandCancelSubject,
  EventKind,
  isTerminal,
  JobState,
  MillraceError,
  stateName,
  type CancelJobRequest,
  type Job,
  type JobEventSchema,
} from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { findStoredJob, noSuchJob } from "./find-job.ts";
import { publishEvents } from "./publish-events.ts";

const encoder = new TextEncoder();

/**
 * Cancels a job. One that waits is taken out of its stream, and is cancelled with that; one that a worker has is aborted
 * by the worker, which says when it has ended.
 */
export async function cancelJob(context: ControlContext, request: CancelJobRequest): Promise<{ state: JobState }> {
  const { id, reason } = request;
  const stored = await findStoredJob(context, id);
  const job = stored?.job ?? context.recent.get(id);
  if (job === undefined) throw noSuchJob(id);
  if (isTerminal(job.state)) throw new MillraceError("aborted", `job ${id} has ended: ${stateName(job.state)}`);
  // The mark first: whatever worker meets the job from here on does not run it.
  await context.cancelMarks.put(id, reason);
  context.bus.publish(commandCancelSubject, encoder.encode(id));
  const place = stored?.place ?? context.recent.placeOf(id);
  const removed = job.state !== JobState.RUNNING && (await takeOut(context, job, place));
  const kind = removed ? EventKind.CANCELLED : EventKind.CANCEL_REQUESTED;
  await publishEvents(context, [eventOf(job, kind, reason)]);
  context.events.jobCancelled(id, removed);
  if (!removed) return { state: job.state };
  if (job.uniqueKey !== "") await context.uniqueKeys.release(job.uniqueKey, id);
  return { state: JobState.CANCELLED };
}

/** @returns false when the job is no longer where it waited */
async function takeOut(
  context: ControlContext,
  job: Job,
  place: { readonly stream: string; readonly seq: number } | undefined,
): Promise<boolean> {
  // A retry that a worker holds back has its old message still in the stream, and the worker publishes the next one.
  if (job.state === JobState.QUEUED)
    return place !== undefined && context.bus.deleteJob(place.stream, place.seq, job.id);
  if (await context.store.cancelSchedule(job.id)) return true;
  return (
    job.state === JobState.SCHEDULED && place !== undefined && context.bus.deleteJob(place.stream, place.seq, job.id)
  );
}

function eventOf(job: Job, kind: EventKind, reason: string): MessageInitShape<typeof JobEventSchema> {
  return {
    jobId: job.id,
    kind,
    attempt: job.attempt,
    queue: job.queue,
    type: job.type,
    priority: job.priority,
    atMs: Date.now(),
    maxAttempts: job.maxAttempts,
    reason,
    ...(kind === EventKind.CANCELLED ? { errorCode: "CANCELLED", errorMessage: reason || "cancelled" } : {}),
    traceparent: job.traceparent,
  };
}
