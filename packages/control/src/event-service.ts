import type { ServiceImpl } from "@connectrpc/connect";
import type { EventService } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { publishEvent } from "./publish-event.ts";

/** Every method of EventService, one file each. */
export function eventService(context: ControlContext): ServiceImpl<typeof EventService> {
  return { publishEvent: (request) => publishEvent(context, request) };
}
