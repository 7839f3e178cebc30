import { create, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import { EventBatchSchema, eventBatchSubject, EventKind, headerNames, poisonedContent } from "@millrace/protocol";
import type { Delivery } from "@millrace/bus";
import type { RefusedSchedule } from "./schedule-from-message.ts";

const source = "scheduler";

/** Ends a job that can never run by a DEAD event, which keeps its bytes. */
export async function refuseSchedule(bus: Bus, message: Delivery, refused: RefusedSchedule): Promise<void> {
  const { id, attempt, queue, type, priority, reason } = refused;
  const atMs = message.timestampMs;
  const batch = create(EventBatchSchema, {
    source,
    events: [
      {
        jobId: id,
        kind: EventKind.DEAD,
        attempt,
        queue,
        type,
        priority,
        atMs,
        submittedAtMs: atMs,
        errorCode: "POISONED",
        errorMessage: reason,
        ...poisonedContent(message.data, message.headerBytes),
      },
    ],
  });
  await bus.publishDurable(eventBatchSubject(source), toBinary(EventBatchSchema, batch), [
    [headerNames.messageId, `refused:${message.stream}:${message.seq}`],
  ]);
}
