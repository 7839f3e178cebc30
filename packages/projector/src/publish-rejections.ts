import { create, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import { EventBatchSchema, eventBatchSubject, EventKind, headerNames, poisonedContent } from "@millrace/protocol";
import type { Rejection } from "./patch-from-copy.ts";

/** Rejected jobs whose event and deletion are under way at one time. */
const atOnce = 50;

/**
 * Ends jobs that can never run: one DEAD event that keeps bytes and headers, then the message leaves its stream. Done
 * again after a crash in between it changes nothing: the event is a stale one then, and the message is gone.
 */
export async function settleRejections(bus: Bus, source: string, rejections: readonly Rejection[]): Promise<void> {
  for (let from = 0; from < rejections.length; from += atOnce) {
    await Promise.all(
      rejections.slice(from, from + atOnce).map((rejection) => settleRejection(bus, source, rejection)),
    );
  }
}

async function settleRejection(
  bus: Bus,
  source: string,
  { patch, reason, headerBytes, stream, seq }: Rejection,
): Promise<void> {
  const batch = create(EventBatchSchema, {
    source,
    events: [
      {
        jobId: patch.id,
        kind: EventKind.DEAD,
        attempt: patch.attempt,
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
  await bus.deleteMessage(stream, seq);
}
