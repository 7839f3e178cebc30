import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { fromWirePayload, JobErrorSchema, JobSchema, runOfVersion, type Job, type JobError } from "@millrace/protocol";
import type { Selectable } from "kysely";
import { formatPosition } from "./position.ts";
import type { JobFailure, JobsTable } from "./schema.ts";

type JobRow = Selectable<JobsTable>;
/** A listed row leaves the bytes out. */
export type JobSummaryRow = Omit<JobRow, "payload" | "result" | "headers" | "raw_headers">;

/** The one conversion between a row and the contract. */
export function toJob(row: JobSummaryRow & Partial<Pick<JobRow, "payload" | "result">>): Job {
  const errors = (row.errors ?? []).map(toJobError);
  const lastError = errors.at(-1);
  const { payload, result } = row;
  return create(JobSchema, {
    id: row.id,
    queue: row.queue,
    type: row.type,
    priority: row.priority,
    state: row.state,
    attempt: row.attempt,
    maxAttempts: row.max_attempts ?? 0,
    ...(payload == null ? {} : { payload: fromWirePayload(payload, row.content_type ?? "") }),
    ...(result == null ? {} : { result: fromWirePayload(result, row.result_content_type ?? "") }),
    ...(lastError === undefined ? {} : { error: lastError }),
    errors,
    tags: row.tags ?? [],
    correlationId: row.correlation_id ?? "",
    submittedAt: timestampFromDate(row.submitted_at),
    ...optionalTime("runAt", row.run_at),
    ...optionalTime("startedAt", row.started_at),
    ...optionalTime("finishedAt", row.finished_at),
    updatedAt: timestampFromDate(row.updated_at),
    worker: row.worker ?? "",
    runUs: BigInt(row.run_us ?? 0),
    waitReason: row.wait_reason ?? "",
    cancelRequested: row.cancel_requested_at !== null,
    uniqueKey: row.unique_key ?? "",
    traceparent: row.traceparent ?? "",
    plugin: row.plugin ?? "",
    fuel: BigInt(row.fuel ?? 0),
    owner: row.owner ?? "",
    run: Math.max(1, runOfVersion(row.version)),
    duplicates: (row.duplicates ?? []).map(({ place, atMs, mayHaveRun }) => ({
      place,
      at: timestampFromMs(atMs),
      mayHaveRun,
    })),
    position: formatPosition({ seq: row.event_seq, index: row.event_index }),
  });
}

function toJobError(failure: JobFailure): JobError {
  const { code, message, retryable, run = 1, attempt, atMs, breach } = failure;
  return create(JobErrorSchema, {
    code,
    message,
    retryable,
    run,
    attempt,
    at: timestampFromMs(atMs),
    ...(breach === undefined
      ? {}
      : { breach: { ...breach, figure: BigInt(Math.round(breach.figure)), limit: BigInt(Math.round(breach.limit)) } }),
  });
}

function optionalTime<K extends string>(key: K, date: Date | null): { [P in K]?: Timestamp } {
  return date === null ? {} : ({ [key]: timestampFromDate(date) } as { [P in K]: Timestamp });
}
