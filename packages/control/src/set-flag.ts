import type { Flag, SetFlagRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { flagMessage } from "./list-flags.ts";

/** @throws MillraceError unavailable (kept or not: set it again) */
export async function setFlag(
  { store, settings, events }: ControlContext,
  { name, enabled, percent = 100 }: SetFlagRequest,
): Promise<{ flag: Flag }> {
  const flag = { name, enabled, percent, updatedAtMs: Date.now() };
  await store.settings.putFlag(flag);
  await settings.copy();
  events.flagSet(name, enabled, percent);
  return { flag: flagMessage(flag) };
}
