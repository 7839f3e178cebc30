import type { Message } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import { JobService, type SubmitJobRequest, type SubmitJobsRequest } from "@millrace/protocol";
import type { CallContext } from "@millrace/rpc";

/** Of a job without its payload. */
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
  const length = isPlainBody(call) ? call.header("content-length") : undefined;
  const bytes = length === undefined ? jobs.reduce((sum, job) => sum + payloadBytes(job), 0) : Number(length);
  return { jobs: Math.max(1, jobs.length), kibibytes: Math.max(1, Math.ceil(bytes / 1024)) };
}

/** What is packed is larger than its body, and the whole body of a stream says nothing of one of its messages. */
function isPlainBody(call: CallContext): boolean {
  if (call.method === JobService.method.streamJobs) return false;
  return ["content-encoding", "grpc-encoding"].every((name) => (call.header(name) ?? "identity") === "identity");
}

function payloadBytes({ payload }: SubmitJobRequest): number {
  const content = payload?.content;
  if (content?.case === "raw") return ordinaryJobBytes + content.value.byteLength;
  if (content?.case === "text") return ordinaryJobBytes + content.value.length;
  return content?.case === "json" ? ordinaryJobBytes + valueBytes(content.value) : ordinaryJobBytes;
}

/** About what it takes as JSON. Decoding has bounded how deep it is. */
function valueBytes({ kind }: Value): number {
  switch (kind.case) {
    case "stringValue":
      return kind.value.length + 2;
    case "structValue":
      return Object.entries(kind.value.fields).reduce((sum, [key, one]) => sum + key.length + 4 + valueBytes(one), 2);
    case "listValue":
      return kind.value.values.reduce((sum, one) => sum + 1 + valueBytes(one), 2);
    default:
      return 8;
  }
}
