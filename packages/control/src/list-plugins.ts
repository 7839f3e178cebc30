import { PluginState, type Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

export async function listPlugins(context: ControlContext): Promise<{ plugins: Plugin[] }> {
  const plugins = await context.plugins.all();
  return { plugins: plugins.filter((plugin) => plugin.state !== PluginState.UNINSTALLED) };
}
