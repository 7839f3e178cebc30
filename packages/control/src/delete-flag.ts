import type { DeleteFlagRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** @throws MillraceError unavailable (gone or not: delete it again) */
export async function deleteFlag(
  { store, settings, events }: ControlContext,
  { name }: DeleteFlagRequest,
): Promise<object> {
  await store.settings.deleteFlag(name);
  await settings.copy();
  events.flagDeleted(name);
  return {};
}
