import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { pathToString } from "@bufbuild/protobuf/reflect";
import {
  isJobId,
  isJobType,
  isPriorityName,
  isQueueName,
  MillraceError,
  SubmitJobRequestSchema,
} from "@millrace/protocol";
import { instantMs, toSubmitRequest, type JobSpec } from "./job-spec.ts";

let validator: Validator | undefined;

/**
 * Throws what the server would answer to this job: the rules are the contract's own annotations. A plain job passes by
 * two regular expressions; the validator speaks only where an option is set or a name is wrong.
 * @throws MillraceError invalid_argument, naming every broken field
 */
export function checkJob(spec: JobSpec): void {
  const plain =
    isJobType(spec.type) &&
    (spec.queue === undefined || isQueueName(spec.queue)) &&
    (spec.id === undefined || isJobId(spec.id)) &&
    (spec.priority === undefined || isPriorityName(spec.priority)) &&
    spec.maxAttempts === undefined &&
    spec.timeoutMs === undefined &&
    spec.backoff === undefined &&
    spec.uniqueKey === undefined &&
    spec.runAt === undefined &&
    spec.deadline === undefined &&
    (spec.tags === undefined || spec.tags.length === 0) &&
    (spec.contentType === undefined || /^[\x20-\x7e]{0,256}$/.test(spec.contentType)) &&
    (spec.correlationId === undefined || /^[\x20-\x7e]{0,256}$/.test(spec.correlationId));
  if (!plain) explain(spec);
}

function explain(spec: JobSpec): void {
  const { priority, runAt, deadline } = spec;
  if (priority !== undefined && !isPriorityName(priority)) {
    throw refused([{ field: "priority", reason: "must be critical, high, normal or low" }]);
  }
  for (const [field, value] of Object.entries({ run_at: runAt, deadline })) {
    if (Number.isFinite(instantMs(value))) continue;
    throw refused([{ field, reason: "must be a date" }]);
  }
  // Beyond what protobuf's uint32 holds, so beyond what its rules see.
  for (const [field, value] of Object.entries({ max_attempts: spec.maxAttempts, timeout_ms: spec.timeoutMs })) {
    if (value === undefined || (Number.isInteger(value) && value >= 0 && value < 2 ** 32)) continue;
    throw refused([{ field, reason: "must be a whole number from 0" }]);
  }
  // What a header carries as text only; the contract's string types let it through.
  if (spec.uniqueKey !== undefined && !/^[\x20-\x7e]*$/.test(spec.uniqueKey)) {
    throw refused([{ field: "unique_key", reason: "must be printable ASCII" }]);
  }
  if (spec.contentType !== undefined && !/^[\x20-\x7e]{0,256}$/.test(spec.contentType)) {
    throw refused([{ field: "payload.content_type", reason: "must be at most 256 printable ASCII characters" }]);
  }
  const { payload: _, ...rest } = spec;
  validator ??= createValidator();
  let result;
  try {
    result = validator.validate(SubmitJobRequestSchema, toSubmitRequest(rest));
  } catch (cause) {
    throw new MillraceError("invalid_argument", cause instanceof Error ? cause.message : String(cause), { cause });
  }
  if (result.kind === "error")
    throw new MillraceError("invalid_argument", result.error.message, { cause: result.error });
  if (result.kind === "valid") return;
  throw refused(result.violations.map(({ field, message }) => ({ field: pathToString(field), reason: message })));
}

function refused(details: readonly { field: string; reason: string }[]): MillraceError {
  return new MillraceError("invalid_argument", details.map(({ field, reason }) => `${field}: ${reason}`).join("; "), {
    details,
  });
}
