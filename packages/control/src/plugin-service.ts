import type { ServiceImpl } from "@connectrpc/connect";
import type { PluginService } from "@millrace/protocol";
import { callPlugin } from "./call-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { deletePlugin } from "./delete-plugin.ts";
import { disablePlugin } from "./disable-plugin.ts";
import { enablePlugin } from "./enable-plugin.ts";
import { getPlugin } from "./get-plugin.ts";
import { getRecording } from "./get-recording.ts";
import { grantPlugin } from "./grant-plugin.ts";
import { listPluginKeys } from "./list-plugin-keys.ts";
import { listPluginVersions } from "./list-plugin-versions.ts";
import { listPlugins } from "./list-plugins.ts";
import { promotePlugin } from "./promote-plugin.ts";
import { revokePluginKey } from "./revoke-plugin-key.ts";
import { rollbackPlugin } from "./rollback-plugin.ts";
import { trustPluginKey } from "./trust-plugin-key.ts";
import { uploadPlugin } from "./upload-plugin.ts";
import { watchPluginLogs } from "./watch-plugin-logs.ts";

/** The methods of PluginService, one file each. */
export function pluginService(context: ControlContext): ServiceImpl<typeof PluginService> {
  return {
    uploadPlugin: (request) => uploadPlugin(context, request),
    listPluginVersions: (request) => listPluginVersions(context, request),
    rollbackPlugin: (request) => rollbackPlugin(context, request),
    promotePlugin: (request) => promotePlugin(context, request),
    grantPlugin: (request) => grantPlugin(context, request),
    watchPluginLogs: (request, call) => watchPluginLogs(context, request, call),
    getRecording: (request) => getRecording(context, request),
    trustPluginKey: (request) => trustPluginKey(context, request),
    listPluginKeys: () => listPluginKeys(context),
    revokePluginKey: (request) => revokePluginKey(context, request),
    listPlugins: () => listPlugins(context),
    getPlugin: (request) => getPlugin(context, request),
    enablePlugin: (request) => enablePlugin(context, request),
    disablePlugin: (request) => disablePlugin(context, request),
    deletePlugin: (request) => deletePlugin(context, request),
    callPlugin: (request) => callPlugin(context, request),
  };
}
