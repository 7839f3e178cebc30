import { create, fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { PublishEventRequestSchema, type Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { storeEvent } from "./publish-event.ts";

const name = "plugin.canary_taken_back";

/** Plugins hear of it too. The record says it in any case, so a broker that is away changes nothing. */
export function announceTakenBack(context: ControlContext, plugin: Plugin): Promise<void> {
  const { manifest, stateReason } = plugin;
  const data = { plugin: manifest?.name ?? "", version: manifest?.version ?? "", reason: stateReason };
  const event = create(PublishEventRequestSchema, { name, data: fromJson(ValueSchema, data) });
  return storeEvent(context, event).then(
    () => undefined,
    (error: unknown) => context.events.lifecycleInterrupted(data.plugin, error),
  );
}
