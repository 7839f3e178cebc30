import { PluginState, type EnablePluginRequest, type Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { setPluginState } from "./set-plugin-state.ts";

export async function enablePlugin(context: ControlContext, request: EnablePluginRequest): Promise<{ plugin: Plugin }> {
  return { plugin: await setPluginState(context, request.name, PluginState.ACTIVE) };
}
