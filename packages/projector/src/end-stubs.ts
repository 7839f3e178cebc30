import { create, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  EventBatchSchema,
  eventBatchSubject,
  EventKind,
  headerNames,
  moveOfVersion,
  runOfVersion,
} from "@millrace/protocol";
import type { Store } from "@millrace/store";

const mostInOneLook = 200;

/**
 * Ends jobs of which events told and whose submission never came: all logs were read past it. They could neither run again nor be
 * shown in full.
 * @returns their ids
 */
export async function endStubs(bus: Bus, store: Store, source: string, stubMs: number): Promise<string[]> {
  const stubs = await store.listStubs(stubMs, mostInOneLook);
  if (stubs.length === 0) return [];
  const atMs = Date.now();
  const batch = create(EventBatchSchema, {
    source,
    events: stubs.map(({ id, queue, type, priority, attempt, version }) => ({
      jobId: id,
      kind: EventKind.DEAD,
      run: Math.max(1, runOfVersion(version)),
      attempt,
      move: Math.max(0, moveOfVersion(version)),
      queue,
      type,
      priority,
      atMs,
      errorCode: "SUBMISSION_LOST",
      errorMessage: "what was submitted is in no log any more: submit it again",
    })),
  });
  await bus.publishDurable(eventBatchSubject(source), toBinary(EventBatchSchema, batch), [
    [headerNames.messageId, `stubs:${stubs[0]?.id}:${atMs}`],
  ]);
  return stubs.map(({ id }) => id);
}
