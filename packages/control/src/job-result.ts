import { create } from "@bufbuild/protobuf";
import { isTerminal, JobResultSchema, type Job, type JobResult } from "@millrace/protocol";

/** The result as the row has it; undefined while the job has not ended. */
export function resultOfJob(job: Job): JobResult | undefined {
  if (!isTerminal(job.state)) return undefined;
  return create(JobResultSchema, {
    id: job.id,
    state: job.state,
    attempt: job.attempt,
    ...(job.result === undefined ? {} : { output: job.result }),
    ...(job.error === undefined ? {} : { error: job.error }),
    runUs: job.runUs,
  });
}
