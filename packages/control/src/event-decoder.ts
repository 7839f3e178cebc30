import { fromBinary } from "@bufbuild/protobuf";
import type { Bus, Delivery } from "@millrace/bus";
import {
  deriveJobId,
  EventBatchSchema,
  EventKind,
  headerNames,
  parseJobSubject,
  subjectRoots,
} from "@millrace/protocol";
import type { JobEventAt } from "./job-event-at.ts";

const batchPrefix = `${subjectRoots.batch}.`;
const submittedPrefix = `${subjectRoots.submitted}.`;
const scheduledPrefix = `${subjectRoots.scheduled}.`;

/** Reads messages of EVENTS. Keeps when each job stream was made: ids that publishers left out depend on it. */
export class EventDecoder {
  readonly #bus: Bus;
  readonly #createdMs = new Map<string, number>();

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** Nothing for a message that does not decode: the projector is who makes a dead letter of it. */
  async decode(message: Delivery): Promise<readonly JobEventAt[]> {
    const { subject } = message;
    if (subject.startsWith(batchPrefix)) return decodeBatch(message);
    if (subject.startsWith(submittedPrefix)) return this.#decodeCopy(message, EventKind.SUBMITTED);
    if (subject.startsWith(scheduledPrefix)) return this.#decodeCopy(message, EventKind.SCHEDULED);
    return [];
  }

  async #decodeCopy(message: Delivery, kind: EventKind): Promise<readonly JobEventAt[]> {
    const place = parseJobSubject(message.subject);
    if (place === undefined) return [];
    const jobId = place.id ?? (await this.#derivedId(message));
    if (jobId === undefined) return [];
    return [
      {
        position: { seq: message.seq, index: 0 },
        jobId,
        kind,
        attempt: Number(message.header(headerNames.attempt) ?? 1) || 1,
        queue: place.queue,
        type: place.type,
        priority: place.level,
        atMs: message.timestampMs,
        worker: "",
        correlationId: message.header(headerNames.correlationId) ?? "",
        detail: undefined,
      },
    ];
  }

  async #derivedId(message: Delivery): Promise<string | undefined> {
    const stream = message.header(headerNames.stream) ?? "";
    const seq = Number(message.header(headerNames.sequence));
    if (!/^JOBS_[A-Z]+$/.test(stream) || !Number.isSafeInteger(seq)) return undefined;
    let createdMs = this.#createdMs.get(stream);
    if (createdMs === undefined) {
      createdMs = await this.#bus.streamCreatedMs(stream);
      this.#createdMs.set(stream, createdMs);
    }
    return deriveJobId(stream, createdMs, seq);
  }
}

function decodeBatch(message: Delivery): readonly JobEventAt[] {
  let batch;
  try {
    batch = fromBinary(EventBatchSchema, message.data);
  } catch {
    return [];
  }
  return batch.events.map((event, index) => ({
    position: { seq: message.seq, index },
    jobId: event.jobId,
    kind: event.kind,
    attempt: event.attempt,
    queue: event.queue,
    type: event.type,
    priority: event.priority,
    atMs: event.atMs,
    worker: batch.source,
    correlationId: "",
    detail: event,
  }));
}
