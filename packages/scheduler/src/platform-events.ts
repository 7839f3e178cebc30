import { create, fromBinary, fromJson, fromJsonString } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Delivery } from "@millrace/bus";
import {
  EventBatchSchema,
  EventKind,
  eventName,
  isOwnQueue,
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
  app: `${subjectRoots.platformEvents}.`,
};

/**
 * What a message of EVENTS offers to plugins. What happens to the jobs by which plugins hear of events, or run their tasks, is
 * not offered: it would be an event without end. Neither is the coming of a later attempt, or of a later run: the job was submitted
 * long ago.
 * @throws when the message does not decode
 */
export function platformEvents(message: Delivery): EventOffer[] {
  const { subject } = message;
  if (subject.startsWith(roots.app)) {
    const event = fromJsonString(PlatformEventSchema, new TextDecoder().decode(message.data), {
      ignoreUnknownFields: true,
    });
    return [{ index: 0, name: subject.slice(roots.app.length), make: () => event }];
  }
  if (!subject.startsWith(roots.batch) && !isAnnouncement(subject)) return [];
  const { source, events } = fromBinary(EventBatchSchema, message.data.slice());
  return events.flatMap((event, index) =>
    isOwnQueue(event.queue) || isComingAgain(event) ? [] : [offerOf(source, event, index)],
  );
}

/** By the name of a log: former versions had copies of jobs under longer subjects. */
function isAnnouncement(subject: string): boolean {
  return subject.startsWith(roots.submitted) && !subject.slice(roots.submitted.length).includes(".");
}

function isComingAgain({ kind, attempt, run }: JobEvent): boolean {
  return (kind === EventKind.SUBMITTED || kind === EventKind.SCHEDULED) && (attempt > 1 || run > 1);
}

function offerOf(source: string, event: JobEvent, index: number): EventOffer {
  const word = eventName(event.kind);
  const name = `job.${word}`;
  // Events of former versions have no run.
  const run = event.run || 1;
  const make = (): PlatformEvent =>
    create(PlatformEventSchema, {
      // No job's id makes two of these alike.
      id: `${event.jobId}-${event.attempt}${run === 1 ? "" : `r${run}`}-${word}`,
      name,
      at: timestampFromMs(Math.round(event.atMs)),
      source,
      data: fromJson(ValueSchema, {
        jobId: event.jobId,
        queue: event.queue,
        type: event.type,
        priority: wordOf(event.priority),
        run,
        attempt: event.attempt,
        maxAttempts: event.maxAttempts,
        runMs: event.runUs / 1000,
        ...(event.errorCode === ""
          ? {}
          : { error: { code: event.errorCode, message: event.errorMessage, retryable: event.errorRetryable } }),
        ...(event.reason === "" ? {} : { reason: event.reason }),
        ...(event.plugin === "" ? {} : { plugin: event.plugin }),
        ...(event.owner === "" ? {} : { owner: event.owner }),
        ...(event.correlationId === "" ? {} : { correlationId: event.correlationId }),
      }),
    });
  return { index, name, make };
}

function wordOf(level: number): string {
  const known = priorityLevels.find((one) => one === level);
  return known === undefined ? "" : priorityName(known);
}
