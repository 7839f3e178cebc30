import type { ServiceImpl } from "@connectrpc/connect";
import type { JobService } from "@millrace/protocol";
import { cancelJob } from "./cancel-job.ts";
import type { ControlContext } from "./control-context.ts";
import { getJob } from "./get-job.ts";
import { getQueueStats } from "./get-queue-stats.ts";
import { listJobs } from "./list-jobs.ts";
import { listQueues } from "./list-queues.ts";
import { pauseQueue } from "./pause-queue.ts";
import { resumeQueue } from "./resume-queue.ts";
import { retryJob } from "./retry-job.ts";
import { streamJobs } from "./stream-jobs.ts";
import { setQueueLimits } from "./set-queue-limits.ts";
import { submitJob } from "./submit-job.ts";
import { submitJobs } from "./submit-jobs.ts";
import { watchJob } from "./watch-job.ts";
import { watchJobs } from "./watch-jobs.ts";

/** Every method of JobService, one file each. */
export function jobService(context: ControlContext): ServiceImpl<typeof JobService> {
  return {
    submitJob: (request, call) => submitJob(context, request, call),
    submitJobs: (request, call) => submitJobs(context, request, call),
    streamJobs: (requests, call) => streamJobs(context, requests, call),
    getJob: (request) => getJob(context, request),
    listJobs: (request) => listJobs(context, request),
    cancelJob: (request) => cancelJob(context, request),
    retryJob: (request, call) => retryJob(context, request, call),
    watchJob: (request, call) => watchJob(context, request, call),
    watchJobs: (request, call) => watchJobs(context, request, call),
    getQueueStats: (request) => getQueueStats(context, request),
    listQueues: () => listQueues(context),
    pauseQueue: (request) => pauseQueue(context, request),
    resumeQueue: (request) => resumeQueue(context, request),
    setQueueLimits: (request) => setQueueLimits(context, request),
  };
}
