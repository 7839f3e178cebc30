import { PluginState, type DeletePluginRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { setPluginState } from "./set-plugin-state.ts";

/** Leaves a record of the types that were served. The module stays: calls that run may still load it, and it may come back. */
export async function deletePlugin(
  context: ControlContext,
  request: DeletePluginRequest,
): Promise<Record<string, never>> {
  await setPluginState(context, request.name, PluginState.UNINSTALLED);
  return {};
}
