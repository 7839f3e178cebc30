import { EncodedHeaders, encodeHeaders, type OutgoingMessage } from "@millrace/bus";
import {
  defaultBackoff,
  formatJobOptions,
  headerNames,
  jobSubject,
  scheduleSubject,
  sharedJobSubject,
  sharedScheduleSubject,
  type JobOptions,
  type PriorityName,
} from "@millrace/protocol";
import { checkJob } from "./check-job.ts";
import { instantMs, type JobSpec } from "./job-spec.ts";

/** A job as it goes to the broker. */
export interface EncodedJob {
  readonly id: string;
  readonly message: OutgoingMessage;
}

const decoder = new TextDecoder();
const versionLine = "NATS/1.0\r\n";
const empty = new Uint8Array(0);

function encodePayload(payload: JobSpec["payload"]): Uint8Array {
  if (payload === undefined) return empty;
  if (typeof payload === "string") return Buffer.from(payload);
  if (payload instanceof Uint8Array) return payload;
  return Buffer.from(JSON.stringify(payload));
}

function contentTypeOf({ payload, contentType }: JobSpec): string {
  if (contentType !== undefined) return contentType;
  // JSON objects and arrays are told by their first byte, and bytes without a name are shown as what they look like: a header
  // less in every message.
  return typeof payload === "string" ? "text/plain; charset=utf-8" : "";
}

/** The header block of a job without its version line and its ids; a bare line break when there is nothing else to say. */
function headerTail(spec: JobSpec): string {
  const contentType = contentTypeOf(spec);
  const { maxAttempts = 0, timeoutMs = 0, backoff, uniqueKey = "", tags, correlationId = "" } = spec;
  const options: { -readonly [K in keyof JobOptions]?: JobOptions[K] } = {
    timeoutMs,
    uniqueKey,
    correlationId,
    contentType,
  };
  if (maxAttempts > 0) options.maxAttempts = maxAttempts;
  if (backoff !== undefined) options.backoff = { ...defaultBackoff, ...backoff };
  if (tags !== undefined) options.tags = tags;
  options.runAtMs = instantMs(spec.runAt);
  options.deadlineMs = instantMs(spec.deadline);
  return decoder.decode(encodeHeaders(formatJobOptions(options)).bytes).slice(versionLine.length);
}

/**
 * Turns jobs into messages. The jobs of a stream mostly differ in payload and id alone, so the check, the subject and the
 * header lines of the last shape are kept. An id that is made here travels in headers, and the jobs of one type share a subject: one
 * each would cost the broker memory and speed. A caller's own id is in the subject, where the log can be asked for it.
 */
export function createJobEncoder(nextId: () => string): (spec: JobSpec) => EncodedJob {
  let last: JobSpec | undefined;
  let lastTail = "";
  let lastSubject = "";

  return (spec) => {
    const scheduled = spec.runAt !== undefined && instantMs(spec.runAt) > Date.now();
    if (last === undefined || scheduled || !sameShape(spec, last)) {
      checkJob(spec);
      last = scheduled ? undefined : spec;
      lastTail = headerTail(spec);
      lastSubject = sharedJobSubject(...nameOf(spec), "");
    } else if (spec.id !== undefined) {
      checkJob({ type: spec.type, id: spec.id });
    }
    const id = spec.id ?? nextId();
    // Nothing but ASCII, as checked.
    const text =
      spec.id === undefined
        ? `${versionLine}${headerNames.id}: ${id}\r\n${headerNames.messageId}: ${id}\r\n${lastTail}`
        : `${versionLine}${headerNames.messageId}: ${id}\r\n${lastTail}`;
    const headers = new EncodedHeaders(text);
    return {
      id,
      message: { subject: subjectOf(spec, scheduled, lastSubject), data: encodePayload(spec.payload), headers },
    };
  };
}

function nameOf(spec: JobSpec): [priority: PriorityName, queue: string, type: string] {
  return [spec.priority ?? "normal", spec.queue ?? "default", spec.type];
}

/** @param shared the subject of its type's jobs that may run at once */
function subjectOf(spec: JobSpec, scheduled: boolean, shared: string): string {
  if (!scheduled) return spec.id === undefined ? shared : jobSubject(...nameOf(spec), spec.id);
  return spec.id === undefined ? sharedScheduleSubject(...nameOf(spec), "") : scheduleSubject(...nameOf(spec), spec.id);
}

function sameShape(a: JobSpec, b: JobSpec): boolean {
  return (
    a.type === b.type &&
    a.queue === b.queue &&
    a.priority === b.priority &&
    a.correlationId === b.correlationId &&
    a.maxAttempts === b.maxAttempts &&
    a.timeoutMs === b.timeoutMs &&
    a.backoff === b.backoff &&
    a.uniqueKey === b.uniqueKey &&
    a.tags === b.tags &&
    a.runAt === b.runAt &&
    a.deadline === b.deadline &&
    contentTypeOf(a) === contentTypeOf(b)
  );
}
