import type { DisablePluginRequest, Plugin } from "@millrace/protocol";
import { moved } from "./advance-plugin.ts";
import type { ControlContext } from "./control-context.ts";

export async function disablePlugin(
  context: ControlContext,
  request: DisablePluginRequest,
): Promise<{ plugin: Plugin }> {
  await context.plugins.change(request.name, (plugin) => {
    const stopping = moved(plugin, "disabled");
    return stopping === plugin && !plugin.enabled ? plugin : { ...stopping, enabled: false };
  });
  return { plugin: await context.lifecycle.settle(request.name) };
}
