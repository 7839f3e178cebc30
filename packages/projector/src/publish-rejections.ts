import { create, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import { EventBatchSchema, eventBatchSubject, EventKind, headerNames, poisonedContent } from "@millrace/protocol";
import type { Rejection } from "./patch-from-job.ts";

/** Rejected jobs whose event is under way at one time. */
const atOnce = 50;

/**
 * Ends jobs that can never run, each by one DEAD event that keeps bytes and headers. Done again after a crash it changes nothing: the
 * first end of a run stays.
 */
export async function publishRejections(bus: Bus, source: string, rejections: readonly Rejection[]): Promise<void> {
  for (let from = 0; from < rejections.length; from += atOnce) {
    await Promise.all(
      rejections.slice(from, from + atOnce).map((rejection) => publishRejection(bus, source, rejection)),
    );
  }
}

async function publishRejection(
  bus: Bus,
  source: string,
  { patch, reason, headerBytes, stream, seq, run, move }: Rejection,
): Promise<void> {
  const batch = create(EventBatchSchema, {
    source,
    events: [
      {
        jobId: patch.id,
        kind: EventKind.DEAD,
        run,
        attempt: patch.attempt,
        move,
        owner: patch.submission?.owner ?? "",
        correlationId: patch.submission?.correlationId ?? "",
        queue: patch.queue,
        type: patch.type,
        priority: patch.priority,
        atMs: patch.submittedAtMs,
        submittedAtMs: patch.submittedAtMs,
        errorCode: "POISONED",
        errorMessage: reason,
        ...poisonedContent(patch.submission?.payload ?? new Uint8Array(0), headerBytes),
      },
    ],
  });
  await bus.publishDurable(eventBatchSubject(source), toBinary(EventBatchSchema, batch), [
    [headerNames.messageId, `rejected:${stream}:${seq}`],
  ]);
}
