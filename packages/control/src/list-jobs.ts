import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Job, ListJobsRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { withWaitReason } from "./with-wait-reason.ts";

/** Newest first, page by page, from the read model. */
export async function listJobs(
  context: ControlContext,
  request: ListJobsRequest,
): Promise<{ jobs: Job[]; nextPageToken: string }> {
  const { queue, type, states, priority, tag, correlationId, owner, submittedAfter, submittedBefore } = request;
  const page = await context.store.listJobs(
    {
      queue,
      type,
      states,
      priority,
      tag,
      correlationId,
      owner,
      ...(submittedAfter === undefined ? {} : { submittedAfterMs: timestampMs(submittedAfter) }),
      ...(submittedBefore === undefined ? {} : { submittedBeforeMs: timestampMs(submittedBefore) }),
    },
    { size: request.pageSize, token: request.pageToken },
  );
  return { ...page, jobs: page.jobs.map((job) => withWaitReason(context, job)) };
}
