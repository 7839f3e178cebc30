import { EncodedHeaders, encodeHeaders, type OutgoingMessage } from "@millrace/bus";
import {
  defaultBackoff,
  formatJobOptions,
  headerNames,
  jobSubject,
  scheduleSubject,
  type JobOptions,
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

/** The header block of a job without its version line and its message id; a bare line break when there is nothing to say. */
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
 * header lines of the last shape are kept.
 */
export function createJobEncoder(nextId: () => string): (spec: JobSpec) => EncodedJob {
  let last: JobSpec | undefined;
  let lastTail = "";
  let lastHeaders: { readonly headers?: EncodedHeaders } = {};
  let lastSubject = "";

  return (spec) => {
    const scheduled = spec.runAt !== undefined && instantMs(spec.runAt) > Date.now();
    if (last === undefined || scheduled || !sameShape(spec, last)) {
      checkJob(spec);
      last = scheduled ? undefined : spec;
      lastTail = headerTail(spec);
      lastHeaders =
        lastTail === "\r\n" ? {} : { headers: new EncodedHeaders(Buffer.from(versionLine + lastTail, "latin1")) };
      lastSubject = `${jobSubject(spec.priority ?? "normal", spec.queue ?? "default", spec.type)}.`;
    } else if (spec.id !== undefined) {
      checkJob({ type: spec.type, id: spec.id });
    }
    const id = spec.id ?? nextId();
    const subject = scheduled
      ? scheduleSubject(spec.priority ?? "normal", spec.queue ?? "default", spec.type, id)
      : lastSubject + id;
    const data = encodePayload(spec.payload);
    if (spec.id === undefined) {
      // Made here, so nobody else uses it, and the subject ends in it.
      return { id, message: { subject, data, ownSubject: true, ...lastHeaders } };
    }
    // Nothing but ASCII, as checked; into Buffer's pool, which is several times cheaper than an encoder.
    const text = `${versionLine}${headerNames.messageId}: ${id}\r\n${lastTail}`;
    return { id, message: { subject, data, headers: new EncodedHeaders(Buffer.from(text, "latin1")) } };
  };
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
