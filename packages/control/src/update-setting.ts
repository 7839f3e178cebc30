import { toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { MillraceError, type ErrorCode, type Setting, type UpdateSettingRequest } from "@millrace/protocol";
import { checkRuntimeSetting } from "@millrace/service-kit";
import type { ControlContext } from "./control-context.ts";
import { getSetting, requireChangeable } from "./list-settings.ts";

/** @throws MillraceError not_found, failed_precondition, invalid_argument, unavailable (kept or not: set it again) */
export async function updateSetting(
  context: ControlContext,
  { name, value }: UpdateSettingRequest,
): Promise<{ setting: Setting }> {
  await requireChangeable(context, name);
  const checked = checkRuntimeSetting(name, jsonOf(value));
  if (checked === undefined || "problem" in checked) {
    throw refused("failed_precondition", checked?.problem ?? "cannot be changed");
  }
  await context.store.settings.put({ name, value: checked.value as JsonValue, updatedAtMs: Date.now() });
  await context.settings.copy();
  context.events.settingChanged(name);
  return { setting: await getSetting(context, name) };
}

function jsonOf(value: Value | undefined): JsonValue {
  if (value === undefined) return null;
  try {
    return toJson(ValueSchema, value);
  } catch (cause) {
    // Empty, or a number that JSON does not have.
    throw refused("invalid_argument", "must be a value of JSON", cause);
  }
}

function refused(code: ErrorCode, reason: string, cause?: unknown): MillraceError {
  return new MillraceError(code, `value: ${reason}`, { cause, details: [{ field: "value", reason }] });
}
