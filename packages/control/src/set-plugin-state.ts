import type { Plugin, PluginState } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Changes nothing when the plugin is in that state. */
export function setPluginState(context: ControlContext, name: string, state: PluginState): Promise<Plugin> {
  return context.plugins.exclusively(async () => {
    const { plugin, revision } = await context.plugins.get(name);
    if (plugin.state === state) return plugin;
    const changed = { ...plugin, state };
    await context.plugins.write(changed, revision);
    context.events.pluginChanged(changed);
    return changed;
  });
}
