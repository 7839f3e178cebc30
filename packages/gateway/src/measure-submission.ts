import type { Message } from "@bufbuild/protobuf";
import { JobService, type SubmitJobRequest, type SubmitJobsRequest } from "@millrace/protocol";
import type { CallContext } from "@millrace/rpc";

/** Of a job whose size nobody has said. */
const ordinaryJobBytes = 512;

/** How many jobs a request submits, and how large they are together; undefined when it submits none. */
export function measureSubmission(
  call: CallContext,
  request: Message,
): { readonly jobs: number; readonly kibibytes: number } | undefined {
  const { method } = call;
  let jobs: readonly SubmitJobRequest[];
  if (method === JobService.method.submitJobs) jobs = (request as SubmitJobsRequest).jobs;
  else if (method === JobService.method.submitJob || method === JobService.method.streamJobs) {
    jobs = [request as SubmitJobRequest];
  } else return undefined;
  // The whole body of a stream says nothing of one of its messages.
  const length = method === JobService.method.streamJobs ? undefined : call.header("content-length");
  const bytes = length === undefined ? jobs.reduce((sum, job) => sum + payloadBytes(job), 0) : Number(length);
  return { jobs: Math.max(1, jobs.length), kibibytes: Math.max(1, Math.ceil(bytes / 1024)) };
}

function payloadBytes({ payload }: SubmitJobRequest): number {
  const content = payload?.content;
  if (content?.case === "raw") return content.value.byteLength;
  return content?.case === "text" ? content.value.length : ordinaryJobBytes;
}
