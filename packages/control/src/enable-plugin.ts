import { PluginState, type EnablePluginRequest, type Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Tries again what has failed before. Why it does not serve in the end is in the plugin's state_reason. */
export async function enablePlugin(context: ControlContext, request: EnablePluginRequest): Promise<{ plugin: Plugin }> {
  await context.plugins.change(request.name, (plugin) => {
    if (plugin.enabled && plugin.state !== PluginState.INSTALLED) return plugin;
    return { ...plugin, enabled: true, stateReason: "" };
  });
  return { plugin: await context.lifecycle.settle(request.name) };
}
