import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { Bus, PublishAck } from "@millrace/bus";
import { EventBatchSchema, eventBatchSubject, headerNames, type JobEventSchema } from "@millrace/protocol";

/**
 * Makes facts that control itself decided durable.
 * @param messageId what is told under it again within 20 s is stored once
 */
export async function publishEvents(
  { bus, node }: { readonly bus: Bus; readonly node: string },
  events: MessageInitShape<typeof JobEventSchema>[],
  messageId: string,
): Promise<PublishAck> {
  const batch = create(EventBatchSchema, { source: node, events });
  const headers = [[headerNames.messageId, messageId]] as const;
  return bus.publishDurable(eventBatchSubject(node), toBinary(EventBatchSchema, batch), headers);
}
