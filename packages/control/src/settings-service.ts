import type { ServiceImpl } from "@connectrpc/connect";
import type { SettingsService } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { deleteFlag } from "./delete-flag.ts";
import { evaluateFlag } from "./evaluate-flag.ts";
import { listFlags } from "./list-flags.ts";
import { getSetting, listSettings } from "./list-settings.ts";
import { resetSetting } from "./reset-setting.ts";
import { setFlag } from "./set-flag.ts";
import { updateSetting } from "./update-setting.ts";

/** The methods of SettingsService, one file each. */
export function settingsService(context: ControlContext): ServiceImpl<typeof SettingsService> {
  return {
    listSettings: () => listSettings(context),
    getSetting: async ({ name }) => ({ setting: await getSetting(context, name) }),
    updateSetting: (request) => updateSetting(context, request),
    resetSetting: (request) => resetSetting(context, request),
    listFlags: () => listFlags(context),
    setFlag: (request) => setFlag(context, request),
    deleteFlag: (request) => deleteFlag(context, request),
    evaluateFlag: (request, call) => evaluateFlag(context, request, call),
  };
}
