import { create, fromJson, fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Delivery } from "@millrace/bus";
import {
  deriveJobId,
  EventBatchSchema,
  EventKind,
  eventName,
  headerNames,
  isOwnQueue,
  parseJobSubject,
  PlatformEventSchema,
  priorityLevels,
  priorityName,
  subjectRoots,
  type JobEvent,
  type PlatformEvent,
} from "@millrace/protocol";

/** An event that a plugin may want, made whole only for the one that does. */
export interface EventOffer {
  /** Within its message. */
  readonly index: number;
  readonly name: string;
  make(): PlatformEvent;
}

/** What every offer of `job.*` is called. */
export const jobEventNames: readonly string[] = [
  EventKind.SUBMITTED,
  EventKind.SCHEDULED,
  EventKind.STARTED,
  EventKind.SUCCEEDED,
  EventKind.RETRIED,
  EventKind.DEAD,
  EventKind.CANCELLED,
  EventKind.EXPIRED,
  EventKind.PARKED,
  EventKind.CANCEL_REQUESTED,
].map((kind) => `job.${eventName(kind)}`);

const roots = {
  batch: `${subjectRoots.batch}.`,
  submitted: `${subjectRoots.submitted}.`,
  scheduled: `${subjectRoots.scheduled}.`,
  app: `${subjectRoots.platformEvents}.`,
};

/**
 * What a message of EVENTS offers to plugins. What happens to the jobs by which plugins hear of events, or run their tasks, is
 * not offered: it would be an event without end.
 * @param streamCreatedMs when a stream of jobs was made; ids that publishers left out depend on it
 * @throws when the message does not decode
 */
export async function platformEvents(
  message: Delivery,
  streamCreatedMs: (stream: string) => Promise<number>,
): Promise<EventOffer[]> {
  const { subject } = message;
  if (subject.startsWith(roots.app)) {
    const event = fromJsonString(PlatformEventSchema, new TextDecoder().decode(message.data), {
      ignoreUnknownFields: true,
    });
    return [{ index: 0, name: subject.slice(roots.app.length), make: () => event }];
  }
  if (subject.startsWith(roots.batch)) {
    const { source, events } = fromBinary(EventBatchSchema, message.data.slice());
    return events.flatMap((event, index) => (isOwnQueue(event.queue) ? [] : [offerOf(source, event, index)]));
  }
  if (subject.startsWith(roots.submitted)) return copyOf(message, EventKind.SUBMITTED, streamCreatedMs);
  if (subject.startsWith(roots.scheduled)) return copyOf(message, EventKind.SCHEDULED, streamCreatedMs);
  return [];
}

function offerOf(source: string, event: JobEvent, index: number): EventOffer {
  const word = eventName(event.kind);
  const name = `job.${word}`;
  const make = (): PlatformEvent =>
    create(PlatformEventSchema, {
      id: `${event.jobId}-${event.attempt}-${word}`,
      name,
      at: timestampFromMs(Math.round(event.atMs)),
      source,
      data: fromJson(ValueSchema, {
        jobId: event.jobId,
        queue: event.queue,
        type: event.type,
        priority: wordOf(event.priority),
        attempt: event.attempt,
        maxAttempts: event.maxAttempts,
        runMs: event.runUs / 1000,
        ...(event.errorCode === ""
          ? {}
          : { error: { code: event.errorCode, message: event.errorMessage, retryable: event.errorRetryable } }),
        ...(event.reason === "" ? {} : { reason: event.reason }),
        ...(event.plugin === "" ? {} : { plugin: event.plugin }),
      }),
    });
  return { index, name, make };
}

/** The republished copy of a job: a job whose attempt is not the first was submitted long ago. */
async function copyOf(
  message: Delivery,
  kind: EventKind,
  streamCreatedMs: (stream: string) => Promise<number>,
): Promise<EventOffer[]> {
  const place = parseJobSubject(message.subject);
  const attempt = Number(message.header(headerNames.attempt) ?? 1) || 1;
  if (place === undefined || isOwnQueue(place.queue) || attempt > 1) return [];
  const stream = message.header(headerNames.stream) ?? "";
  const seq = Number(message.header(headerNames.sequence));
  const jobId = place.id ?? deriveJobId(stream, await streamCreatedMs(stream), seq);
  const word = eventName(kind);
  const make = (): PlatformEvent =>
    create(PlatformEventSchema, {
      id: `${jobId}-1-${word}`,
      name: `job.${word}`,
      at: timestampFromMs(message.timestampMs),
      source: "control",
      data: fromJson(ValueSchema, {
        jobId,
        queue: place.queue,
        type: place.type,
        priority: place.priority,
        attempt,
      }),
    });
  return [{ index: 0, name: `job.${word}`, make }];
}

function wordOf(level: number): string {
  const known = priorityLevels.find((one) => one === level);
  return known === undefined ? "" : priorityName(known);
}
