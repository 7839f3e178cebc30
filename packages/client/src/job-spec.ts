import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  BackoffKind,
  BackoffSchema,
  PayloadSchema,
  priorityLevel,
  SubmitJobRequestSchema,
  type BackoffPolicy,
  type Payload,
  type PriorityName,
  type SubmitJobRequest,
} from "@millrace/protocol";

/** A job to submit, by whichever door. Only `type` is needed. */
export interface JobSpec {
  /** What kind of work; decides the handler. */
  readonly type: string;
  /** `default` when left out. */
  readonly queue?: string;
  /** `normal` when left out. */
  readonly priority?: PriorityName;
  /** The handler's input: an object travels as JSON, a string as UTF-8, bytes as they are. */
  readonly payload?: object | string | Uint8Array;
  /** Media type of the payload; goes by its kind when left out. */
  readonly contentType?: string;
  /** Made here when left out. The same id within 20 s is accepted once. */
  readonly id?: string;
  /** 1..100; 5 when left out. */
  readonly maxAttempts?: number;
  /** Bound on one attempt; the handler's own when left out. */
  readonly timeoutMs?: number;
  readonly backoff?: Partial<BackoffPolicy>;
  /** Not before: a date, or Unix ms. */
  readonly runAt?: Date | number;
  /** Expires when not started by then: a date, or Unix ms. */
  readonly deadline?: Date | number;
  /** At most one unfinished job has this key. */
  readonly uniqueKey?: string;
  readonly tags?: readonly string[];
  readonly correlationId?: string;
}

/** Unix ms of a date or number; 0 when absent. */
export function instantMs(instant: Date | number | undefined): number {
  if (instant === undefined) return 0;
  return typeof instant === "number" ? instant : instant.getTime();
}

function toPayload(spec: JobSpec): Payload | undefined {
  const { payload, contentType = "" } = spec;
  if (payload === undefined) return undefined;
  if (typeof payload === "string")
    return create(PayloadSchema, { content: { case: "text", value: payload }, contentType });
  if (payload instanceof Uint8Array)
    return create(PayloadSchema, { content: { case: "raw", value: payload }, contentType });
  // Through JSON text, so that dates and toJSON come out as they do in the publisher.
  const json = JSON.parse(JSON.stringify(payload)) as JsonValue;
  return create(PayloadSchema, { content: { case: "json", value: fromJson(ValueSchema, json) }, contentType });
}

const backoffKinds = {
  exponential: BackoffKind.EXPONENTIAL,
  linear: BackoffKind.LINEAR,
  fixed: BackoffKind.FIXED,
} as const;

/** The contract's request for this job. */
export function toSubmitRequest(spec: JobSpec): SubmitJobRequest {
  const request = create(SubmitJobRequestSchema, {
    type: spec.type,
    id: spec.id ?? "",
    queue: spec.queue ?? "",
    maxAttempts: spec.maxAttempts ?? 0,
    timeoutMs: spec.timeoutMs ?? 0,
    uniqueKey: spec.uniqueKey ?? "",
    tags: [...(spec.tags ?? [])],
    correlationId: spec.correlationId ?? "",
  });
  if (spec.priority !== undefined) request.priority = priorityLevel(spec.priority);
  const payload = toPayload(spec);
  if (payload !== undefined) request.payload = payload;
  if (spec.runAt !== undefined) request.runAt = timestampFromMs(instantMs(spec.runAt));
  if (spec.deadline !== undefined) request.deadline = timestampFromMs(instantMs(spec.deadline));
  if (spec.backoff !== undefined) {
    const { kind = "exponential", baseMs = 0, maxMs = 0, jitter } = spec.backoff;
    request.backoff = create(BackoffSchema, { kind: backoffKinds[kind], baseMs, maxMs });
    if (jitter !== undefined) request.backoff.jitterPercent = Math.round(jitter * 100);
  }
  return request;
}
