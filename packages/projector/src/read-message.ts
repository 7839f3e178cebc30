import type { Delivery } from "@millrace/bus";
import { EventKind, subjectRoots } from "@millrace/protocol";
import type { Coalescer } from "./coalescer.ts";
import { patchFromCopy } from "./patch-from-copy.ts";
import { patchFromEvent } from "./patch-from-event.ts";
import { readEventBatch } from "./read-event-batch.ts";

const batchPrefix = `${subjectRoots.batch}.`;
const platformPrefix = `${subjectRoots.platformEvents}.`;
const submittedPrefix = `${subjectRoots.submitted}.`;
const scheduledPrefix = `${subjectRoots.scheduled}.`;

/**
 * Takes one message of EVENTS in.
 * @returns what is wrong with it, or undefined; a message that does not decode will never do, and is skipped
 */
export function readMessage(
  message: Delivery,
  into: Coalescer,
  streamCreatedMs: (stream: string) => number | undefined,
): string | undefined {
  const { subject } = message;
  if (into.messages++ === 0) into.firstAtMs = message.timestampMs;
  into.lastSeq = message.seq;
  into.bytes += message.data.length;
  if (subject.startsWith(submittedPrefix) || subject.startsWith(scheduledPrefix)) {
    const copy = patchFromCopy(message, streamCreatedMs);
    if (copy === undefined) return "no copy of a message of a job stream";
    into.add(copy.patch);
    // A scheduled job is the scheduler's to refuse: it holds the message.
    if (copy.rejection !== undefined && subject.startsWith(submittedPrefix)) into.rejections.push(copy.rejection);
    return undefined;
  }
  // What plugins are told of is no part of a job's row.
  if (subject.startsWith(platformPrefix)) return undefined;
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
    else into.add(patchFromEvent(event, batch.source, { seq: message.seq, index }));
  }
  return unknown > 0 ? `${unknown} events without a job or a kind` : undefined;
}
