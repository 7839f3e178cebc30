import { create, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  headerNames,
  MillraceError,
  newJobId,
  PlatformEventSchema,
  platformEventSubject,
  type PublishEventRequest,
} from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

const source = "control";
/** First part of the names that Millrace itself gives to what happens to jobs. */
const ownRoot = "job";

/**
 * Stores one event; plugins hear of it from there.
 * @throws MillraceError invalid_argument (a name of Millrace's own), resource_exhausted (EVENTS is full);
 * BusError out_of_range (too large), unavailable (stored or not: publish it again with the same id)
 */
export async function publishEvent(context: ControlContext, request: PublishEventRequest): Promise<{ id: string }> {
  const { name, data } = request;
  if (name.split(".", 1)[0] === ownRoot) {
    throw new MillraceError("invalid_argument", "name: job.* are events of Millrace's own", {
      details: [{ field: "name", reason: "must not begin with job" }],
    });
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
