import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { EventBatchSchema, eventBatchSubject, type JobEventSchema } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Makes facts that control itself decided durable. */
export async function publishEvents(
  context: ControlContext,
  events: MessageInitShape<typeof JobEventSchema>[],
): Promise<void> {
  const batch = create(EventBatchSchema, { source: context.node, events });
  await context.bus.publishDurable(eventBatchSubject(context.node), toBinary(EventBatchSchema, batch));
}
