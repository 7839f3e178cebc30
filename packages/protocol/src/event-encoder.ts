import { EventBatchSchema, JobEventSchema, type JobEvent } from "./gen/millrace/events/v1/events_pb.ts";

/** The fields of an event, as whoever writes it has them; what is left out has its default. */
export type EventFields = Partial<Omit<JobEvent, "$typeName" | "$unknown">> &
  Pick<JobEvent, "jobId" | "kind" | "run" | "attempt">;

const wireType = { varint: 0, fixed64: 1, bytes: 2 } as const;

function tag(number: number, type: number): number {
  return (number << 3) | type;
}

// Numbers come from the generated descriptor, so that the contract is written down once.
const field = JobEventSchema.field;
const tags = {
  jobId: tag(field.jobId.number, wireType.bytes),
  kind: tag(field.kind.number, wireType.varint),
  attempt: tag(field.attempt.number, wireType.varint),
  queue: tag(field.queue.number, wireType.bytes),
  type: tag(field.type.number, wireType.bytes),
  priority: tag(field.priority.number, wireType.varint),
  atMs: tag(field.atMs.number, wireType.fixed64),
  startedAtMs: tag(field.startedAtMs.number, wireType.fixed64),
  submittedAtMs: tag(field.submittedAtMs.number, wireType.fixed64),
  runUs: tag(field.runUs.number, wireType.fixed64),
  result: tag(field.result.number, wireType.bytes),
  resultContentType: tag(field.resultContentType.number, wireType.bytes),
  errorCode: tag(field.errorCode.number, wireType.bytes),
  errorMessage: tag(field.errorMessage.number, wireType.bytes),
  errorRetryable: tag(field.errorRetryable.number, wireType.varint),
  nextRunAtMs: tag(field.nextRunAtMs.number, wireType.fixed64),
  reason: tag(field.reason.number, wireType.bytes),
  maxAttempts: tag(field.maxAttempts.number, wireType.varint),
  traceparent: tag(field.traceparent.number, wireType.bytes),
  payload: tag(field.payload.number, wireType.bytes),
  rawHeaders: tag(field.rawHeaders.number, wireType.bytes),
  breachResource: tag(field.breachResource.number, wireType.bytes),
  breachFigure: tag(field.breachFigure.number, wireType.fixed64),
  breachLimit: tag(field.breachLimit.number, wireType.fixed64),
  breachUnit: tag(field.breachUnit.number, wireType.bytes),
  fuel: tag(field.fuel.number, wireType.fixed64),
  plugin: tag(field.plugin.number, wireType.bytes),
  run: tag(field.run.number, wireType.varint),
  move: tag(field.move.number, wireType.varint),
  owner: tag(field.owner.number, wireType.bytes),
  correlationId: tag(field.correlationId.number, wireType.bytes),
  messageSeq: tag(field.messageSeq.number, wireType.fixed64),
};
const batchTags = {
  source: tag(EventBatchSchema.field.source.number, wireType.bytes),
  events: tag(EventBatchSchema.field.events.number, wireType.bytes),
};

const encoder = new TextEncoder();

/**
 * Writes an EventBatch, event by event, into one growing buffer. The generated encoder costs about ten times as much, which
 * at tens of thousands of jobs a second is a third of a core; a property test holds the two together.
 */
export class EventEncoder {
  readonly #source: string;
  #bytes = new Uint8Array(16 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #count = 0;

  constructor(source: string) {
    this.#source = source;
    this.#begin();
  }

  get count(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#at;
  }

  add(event: EventFields): void {
    this.#count++;
    this.#room(16);
    this.#varint(batchTags.events);
    // The length is known afterwards: four bytes are kept, as a varint with padding, which every decoder reads.
    const lengthAt = this.#at;
    this.#at += 4;
    this.#string(tags.jobId, event.jobId);
    this.#number(tags.kind, event.kind);
    this.#number(tags.attempt, event.attempt);
    this.#string(tags.queue, event.queue);
    this.#string(tags.type, event.type);
    this.#number(tags.priority, event.priority);
    this.#double(tags.atMs, event.atMs);
    this.#double(tags.startedAtMs, event.startedAtMs);
    this.#double(tags.submittedAtMs, event.submittedAtMs);
    this.#double(tags.runUs, event.runUs);
    this.#blob(tags.result, event.result);
    this.#string(tags.resultContentType, event.resultContentType);
    this.#string(tags.errorCode, event.errorCode);
    this.#string(tags.errorMessage, event.errorMessage);
    this.#number(tags.errorRetryable, event.errorRetryable === true ? 1 : 0);
    this.#double(tags.nextRunAtMs, event.nextRunAtMs);
    this.#string(tags.reason, event.reason);
    this.#number(tags.maxAttempts, event.maxAttempts);
    this.#string(tags.traceparent, event.traceparent);
    this.#blob(tags.payload, event.payload);
    this.#string(tags.rawHeaders, event.rawHeaders);
    this.#string(tags.breachResource, event.breachResource);
    this.#double(tags.breachFigure, event.breachFigure);
    this.#double(tags.breachLimit, event.breachLimit);
    this.#string(tags.breachUnit, event.breachUnit);
    this.#double(tags.fuel, event.fuel);
    this.#string(tags.plugin, event.plugin);
    this.#number(tags.run, event.run);
    this.#number(tags.move, event.move);
    this.#string(tags.owner, event.owner);
    this.#string(tags.correlationId, event.correlationId);
    this.#double(tags.messageSeq, event.messageSeq);
    const length = this.#at - lengthAt - 4;
    this.#bytes[lengthAt] = (length & 0x7f) | 0x80;
    this.#bytes[lengthAt + 1] = ((length >>> 7) & 0x7f) | 0x80;
    this.#bytes[lengthAt + 2] = ((length >>> 14) & 0x7f) | 0x80;
    this.#bytes[lengthAt + 3] = (length >>> 21) & 0x7f;
  }

  /** The batch so far, in bytes of its own; the encoder starts anew. */
  take(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    this.#count = 0;
    this.#begin();
    return bytes;
  }

  #begin(): void {
    this.#string(batchTags.source, this.#source);
  }

  #string(tag: number, text: string | undefined): void {
    if (text === undefined || text.length === 0) return;
    const length = text.length;
    this.#room(length * 3 + 10);
    this.#varint(tag);
    const bytes = this.#bytes;
    // Ids and names are short and ASCII: a loop beats the encoder's call.
    if (length < 64) {
      let at = this.#at + 1;
      let i = 0;
      for (; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code > 0x7f) break;
        bytes[at++] = code;
      }
      if (i === length) {
        bytes[this.#at] = length;
        this.#at = at;
        return;
      }
    }
    const encoded = encoder.encode(text);
    this.#varint(encoded.length);
    bytes.set(encoded, this.#at);
    this.#at += encoded.length;
  }

  #blob(tag: number, value: Uint8Array | undefined): void {
    if (value === undefined || value.length === 0) return;
    this.#room(value.length + 10);
    this.#varint(tag);
    this.#varint(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  #number(tag: number, value: number | undefined): void {
    if (value === undefined || value === 0) return;
    this.#room(10);
    this.#varint(tag);
    this.#varint(value);
  }

  #double(tag: number, value: number | undefined): void {
    // Minus zero is no default in protobuf.
    if (value === undefined || Object.is(value, 0)) return;
    this.#room(12);
    this.#varint(tag);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  #room(needed: number): void {
    if (this.#at + needed <= this.#bytes.length) return;
    const next = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + needed));
    next.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = next;
    this.#view = new DataView(next.buffer);
  }
}
