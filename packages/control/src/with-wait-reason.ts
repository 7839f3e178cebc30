import { JobState, type Job } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** A job as it is shown: no worker looks at a paused queue, so none says why its jobs wait. */
export function withWaitReason({ queueSettings }: Pick<ControlContext, "queueSettings">, job: Job): Job {
  if (job.state !== JobState.QUEUED || job.waitReason !== "" || !queueSettings.isPaused(job.queue)) return job;
  return { ...job, waitReason: `queue "${job.queue}" is paused` };
}
