import { toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { MillraceError, type Setting, type UpdateSettingRequest } from "@millrace/protocol";
import { checkRuntimeSetting } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { getSetting, requireChangeable } from "./list-settings.ts";

/** @throws MillraceError not_found, failed_precondition, invalid_argument, unavailable (kept or not: set it again) */
export async function updateSetting(
  context: ControlContext,
  { name, value }: UpdateSettingRequest,
): Promise<{ setting: Setting }> {
  requireChangeable(context, name);
  const given = value === undefined ? null : toJson(ValueSchema, value);
  const checked = checkRuntimeSetting(name, given);
  if (checked === undefined || "problem" in checked) {
    const reason = checked?.problem ?? "cannot be changed";
    throw new MillraceError("invalid_argument", `value: ${reason}`, { details: [{ field: "value", reason }] });
  }
  await context.store.settings.put({ name, value: checked.value as JsonValue, updatedAtMs: Date.now() });
  await context.settings.copy();
  context.events.settingChanged(name);
  return { setting: await getSetting(context, name) };
}
