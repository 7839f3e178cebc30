import type { GetJobRequest, Job } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { findJob, noSuchJob } from "./find-job.ts";
import { withWaitReason } from "./with-wait-reason.ts";

export async function getJob(context: ControlContext, request: GetJobRequest): Promise<{ job: Job }> {
  const job = await findJob(context, request.id);
  if (job === undefined) throw noSuchJob(request.id);
  return { job: withWaitReason(context, job) };
}
