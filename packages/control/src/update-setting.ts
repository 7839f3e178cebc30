import { toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { MillraceError, type Setting, type UpdateSettingRequest } from "@millrace/protocol";
import { checkRuntimeSetting } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { getSetting, requireChangeable } from "./list-settings.ts";

/** @throws MillraceError not_found, failed_precondition, unavailable (kept or not: set it again) */
export async function updateSetting(
  context: ControlContext,
  { name, value }: UpdateSettingRequest,
): Promise<{ setting: Setting }> {
  await requireChangeable(context, name);
  // What JSON cannot say has not come this far.
  const checked = checkRuntimeSetting(name, value === undefined ? null : toJson(ValueSchema, value));
  if (checked === undefined || "problem" in checked) {
    throw refused(checked?.problem ?? "cannot be changed");
  }
  await context.store.settings.put({ name, value: checked.value as JsonValue, updatedAtMs: Date.now() });
  await context.settings.copy();
  context.events.settingChanged(name);
  return { setting: await getSetting(context, name) };
}

function refused(reason: string): MillraceError {
  return new MillraceError("failed_precondition", `value: ${reason}`, { details: [{ field: "value", reason }] });
}
