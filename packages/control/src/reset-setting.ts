import type { ResetSettingRequest, Setting } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { getSetting, requireChangeable } from "./list-settings.ts";

/** @throws MillraceError not_found, failed_precondition, unavailable (forgotten or not: reset it again) */
export async function resetSetting(
  context: ControlContext,
  { name }: ResetSettingRequest,
): Promise<{ setting: Setting }> {
  await requireChangeable(context, name);
  await context.store.settings.delete(name);
  await context.settings.copy();
  context.events.settingChanged(name);
  return { setting: await getSetting(context, name) };
}
