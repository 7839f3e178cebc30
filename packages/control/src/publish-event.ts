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
 * Stores what a caller tells; plugins hear of it from there.
 * @throws MillraceError failed_precondition (a name of Millrace's own), and what storeEvent throws
 */
export async function publishEvent(context: ControlContext, request: PublishEventRequest): Promise<{ id: string }> {
  if (isReservedEvent(request.name)) {
    const reason = `events that begin with ${reservedEventRoots.join(", ")} are Millrace's own`;
    throw new MillraceError("failed_precondition", `name: ${reason}`, { details: [{ field: "name", reason }] });
  }
  return storeEvent(context, request);
}

/**
 * Stores one event, whatever its name.
 * @throws MillraceError resource_exhausted (EVENTS is full); BusError out_of_range (too large), unavailable (stored or not:
 * publish it again with the same id)
 */
export async function storeEvent(
  context: ControlContext,
  { id: chosenId, name, data }: PublishEventRequest,
): Promise<{ id: string }> {
  context.pressure.admit();
  const nowMs = Date.now();
  const id = chosenId === "" ? newJobId(nowMs) : chosenId;
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
