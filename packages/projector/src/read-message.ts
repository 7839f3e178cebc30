import type { Delivery } from "@millrace/bus";
import { EventKind, scheduleStream, subjectRoots } from "@millrace/protocol";
import type { Coalescer } from "./coalescer.ts";
import { patchFromEvent } from "./patch-from-event.ts";
import { patchFromJob, type ReadJob } from "./patch-from-job.ts";
import { readEventBatch } from "./read-event-batch.ts";

const batchPrefix = `${subjectRoots.batch}.`;
// Told to others: what plugins hear of, and what the projector itself has announced from the logs.
const notOfRows = [`${subjectRoots.platformEvents}.`, `${subjectRoots.submitted}.`, "events.scheduled."];

/** Takes in a message of a job log, or of SCHEDULE. */
export function readJob(message: Delivery, log: string, into: Coalescer): ReadJob {
  const job = patchFromJob(message, log, log === scheduleStream);
  into.reach(log, { seq: message.seq, atMs: message.timestampMs }, message.data.length);
  into.add(job.patch);
  if (job.rejection !== undefined) into.rejections.push(job.rejection);
  return job;
}

/**
 * Takes in a message of EVENTS.
 * @returns what is wrong with it, or undefined; a message that does not decode will never do, and is skipped
 */
export function readEvents(message: Delivery, log: string, into: Coalescer): string | undefined {
  const { subject, seq } = message;
  into.reach(log, { seq, atMs: message.timestampMs }, message.data.length);
  if (notOfRows.some((prefix) => subject.startsWith(prefix))) return undefined;
  if (!subject.startsWith(batchPrefix)) return "an unknown subject";
  let batch;
  try {
    batch = readEventBatch(message.data);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  let unknown = 0;
  for (const [index, event] of batch.events.entries()) {
    if (event.jobId === "" || event.kind === EventKind.UNSPECIFIED) unknown++;
    else into.add(patchFromEvent(event, batch.source, { seq, index }));
  }
  return unknown > 0 ? `${unknown} events without a job or a kind` : undefined;
}
