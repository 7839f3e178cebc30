import type { MessageInitShape } from "@bufbuild/protobuf";
import { EventKind, type Job, type JobEventSchema } from "@millrace/protocol";

/** That a run was cancelled, or that it is to be. @param kind CANCELLED or CANCEL_REQUESTED */
export function cancelEvent(
  job: Job,
  run: number,
  kind: EventKind,
  reason: string,
): MessageInitShape<typeof JobEventSchema> {
  return {
    jobId: job.id,
    kind,
    run,
    attempt: job.attempt,
    queue: job.queue,
    type: job.type,
    priority: job.priority,
    atMs: Date.now(),
    maxAttempts: job.maxAttempts,
    reason,
    ...(kind === EventKind.CANCELLED ? { errorCode: "CANCELLED", errorMessage: reason || "cancelled" } : {}),
    traceparent: job.traceparent,
    owner: job.owner,
    correlationId: job.correlationId,
  };
}
