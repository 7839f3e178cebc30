import type { ServiceImpl } from "@connectrpc/connect";
import type { PluginService } from "@millrace/protocol";
import { callPlugin } from "./call-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { deletePlugin } from "./delete-plugin.ts";
import { disablePlugin } from "./disable-plugin.ts";
import { enablePlugin } from "./enable-plugin.ts";
import { getPlugin } from "./get-plugin.ts";
import { listPlugins } from "./list-plugins.ts";
import { uploadPlugin } from "./upload-plugin.ts";

/** The methods of PluginService, one file each. */
export function pluginService(context: ControlContext): Partial<ServiceImpl<typeof PluginService>> {
  return {
    uploadPlugin: (request) => uploadPlugin(context, request),
    listPlugins: () => listPlugins(context),
    getPlugin: (request) => getPlugin(context, request),
    enablePlugin: (request) => enablePlugin(context, request),
    disablePlugin: (request) => disablePlugin(context, request),
    deletePlugin: (request) => deletePlugin(context, request),
    callPlugin: (request) => callPlugin(context, request),
  };
}
