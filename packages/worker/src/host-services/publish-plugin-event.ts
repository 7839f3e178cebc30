import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Bus } from "@millrace/bus";
import {
  headerNames,
  isReservedEvent,
  matchesEvent,
  newJobId,
  PlatformEventSchema,
  platformEventSubject,
  reservedEventRoots,
} from "@millrace/protocol";
import type { HostCaller } from "./host-caller.ts";
import { badRequest, denied, exceeded } from "./host-failure.ts";

const mostEventBytes = 256 << 10;
const nameForm = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;
const mostNameChars = 256;
const idForm = /^[A-Za-z0-9_-]{1,64}$/;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * Stores an event of a plugin's.
 * @throws HostFailure; BusError when it cannot be stored
 */
export async function publishPluginEvent(
  bus: Bus,
  caller: HostCaller,
  { name, id }: { readonly name: string; readonly id?: string | undefined },
  body: Uint8Array,
): Promise<string> {
  if (!nameForm.test(name) || name.length > mostNameChars)
    throw badRequest("events: names are parts of a-z 0-9 _ -, with dots");
  if (isReservedEvent(name)) {
    throw denied(`events: those that begin with ${reservedEventRoots.join(", ")} are Millrace's own`);
  }
  if (!caller.granted.events.some((pattern) => matchesEvent(pattern, name))) {
    throw denied(`events: ${name} is not granted; declare it under capabilities.events, and grant events`);
  }
  if (id !== undefined && !idForm.test(id)) throw badRequest("events: an id has 1 to 64 of A-Z a-z 0-9 _ -");
  if (body.length > mostEventBytes) {
    throw exceeded({ resource: "events", figure: body.length, limit: mostEventBytes, unit: "bytes" }, { fatal: false });
  }
  const nowMs = Date.now();
  const eventId = id ?? newJobId(nowMs);
  const event = create(PlatformEventSchema, {
    id: eventId,
    name,
    at: timestampFromMs(nowMs),
    source: `plugin:${caller.plugin}`,
    ...(body.length === 0 ? {} : { data: readJson(body) }),
  });
  const data = encoder.encode(toJsonString(PlatformEventSchema, event));
  // An id is the plugin's own: it cannot keep another's event from being stored.
  const messageId = `event:${caller.plugin}:${eventId}`;
  await bus.publishDurable(platformEventSubject(name), data, [[headerNames.messageId, messageId]]);
  return eventId;
}

function readJson(body: Uint8Array) {
  try {
    return fromJsonString(ValueSchema, decoder.decode(body));
  } catch {
    throw badRequest("events: the data is not JSON");
  }
}
