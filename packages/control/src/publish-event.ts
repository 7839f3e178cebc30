import { create, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  headerNames,
  isReservedEvent,
  MillraceError,
  newJobId,
  PlatformEventSchema,
  platformEventSubject,
  reservedEventRoots,
  type PublishEventRequest,
} from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

const source = "control";

/**
 * Stores one event; plugins hear of it from there.
 * @throws MillraceError failed_precondition (a name of Millrace's own), resource_exhausted (EVENTS is full);
 * BusError out_of_range (too large), unavailable (stored or not: publish it again with the same id)
 */
export async function publishEvent(context: ControlContext, request: PublishEventRequest): Promise<{ id: string }> {
  const { name, data } = request;
  if (isReservedEvent(name)) {
    const reason = `events that begin with ${reservedEventRoots.join(", ")} are Millrace's own`;
    throw new MillraceError("failed_precondition", `name: ${reason}`, { details: [{ field: "name", reason }] });
  }
  context.pressure.admit();
  const nowMs = Date.now();
  const id = request.id === "" ? newJobId(nowMs) : request.id;
  const event = create(PlatformEventSchema, {
    id,
    name,
    at: timestampFromMs(nowMs),
    source,
    ...(data === undefined ? {} : { data }),
  });
  const bytes = new TextEncoder().encode(toJsonString(PlatformEventSchema, event));
  await context.bus.publishDurable(platformEventSubject(name), bytes, [[headerNames.messageId, `event:${id}`]]);
  return { id };
}
