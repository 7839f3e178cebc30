import { PluginState, type DisablePluginRequest, type Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { setPluginState } from "./set-plugin-state.ts";

export async function disablePlugin(
  context: ControlContext,
  request: DisablePluginRequest,
): Promise<{ plugin: Plugin }> {
  return { plugin: await setPluginState(context, request.name, PluginState.RESOLVED) };
}
