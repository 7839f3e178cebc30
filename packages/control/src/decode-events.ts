import { fromBinary } from "@bufbuild/protobuf";
import type { Delivery } from "@millrace/bus";
import { EventBatchSchema, EventKind, subjectRoots } from "@millrace/protocol";
import type { JobEventAt } from "./job-event-at.ts";

const prefixes = [`${subjectRoots.batch}.`, `${subjectRoots.submitted}.`];

/** The events of one message of EVENTS. Nothing for one that does not decode: the projector is who makes a dead letter of it. */
export function decodeEvents(message: Delivery): readonly JobEventAt[] {
  if (!prefixes.some((prefix) => message.subject.startsWith(prefix))) return [];
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
    run: event.run || 1,
    attempt: event.attempt,
    move: event.move,
    queue: event.queue,
    type: event.type,
    priority: event.priority,
    atMs: event.atMs,
    worker: isAnnouncement(event.kind) ? "" : batch.source,
    owner: event.owner,
    correlationId: event.correlationId,
    detail: event,
  }));
}

/** What the projector tells of a log, where no worker had a part. */
function isAnnouncement(kind: EventKind): boolean {
  return kind === EventKind.SUBMITTED || kind === EventKind.SCHEDULED;
}
