import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  errorTable,
  headerNames,
  JobService,
  MillraceError,
  rpcSubject,
  SubmitJobRequestSchema,
  SubmitJobResponseSchema,
  type ErrorBody,
  type ErrorCode,
} from "@millrace/protocol";
import type { Accepted } from "./client.ts";
import { toSubmitRequest, type JobSpec } from "./job-spec.ts";

const subject = rpcSubject(JobService.typeName, JobService.method.submitJob.name);
const timeoutMs = 10_000;
const decoder = new TextDecoder();

/**
 * Submits by request-reply: for a job that must be looked at before it is stored.
 * @throws MillraceError what JobService answers; unavailable when none is running
 */
export async function submitByRequest(bus: Bus, job: JobSpec & { readonly id: string }): Promise<Accepted> {
  const request = toBinary(SubmitJobRequestSchema, toSubmitRequest(job));
  const answer = await bus.request(subject, request, { timeoutMs });
  const code = answer.header(headerNames.error);
  if (code !== undefined) throw refusal(code, decoder.decode(answer.data));
  const { id, duplicate } = fromBinary(SubmitJobResponseSchema, answer.data);
  return { id, duplicate };
}

function refusal(code: string, body: string): MillraceError {
  const known: ErrorCode = Object.hasOwn(errorTable, code) ? (code as ErrorCode) : "unknown";
  try {
    const { message, details } = (JSON.parse(body) as ErrorBody).error;
    return new MillraceError(known, message, { details });
  } catch {
    return new MillraceError(known, body);
  }
}
