import { PluginState, type DeletePluginRequest } from "@millrace/protocol";
import { moved } from "./advance-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { withoutCanary } from "./plugin-versions.ts";
import { servedTypes } from "./type-claims.ts";

/** Leaves a record of the types that were served. The module stays: calls that run may still load it, and it may come back. */
export async function deletePlugin(
  context: ControlContext,
  request: DeletePluginRequest,
): Promise<Record<string, never>> {
  const { name } = request;
  const { plugin } = await context.plugins.get(name);
  const gone = await context.plugins.change(name, (found) => {
    const deleted = { ...withoutCanary(moved(found, "deleted")), enabled: false };
    delete deleted.previous;
    return deleted;
  });
  context.events.pluginChanged(gone);
  await context.typeClaims.release(name, servedTypes(plugin));
  if (plugin.state === PluginState.ACTIVE) await context.lifecycle.runOut(plugin, "on_disable");
  await context.lifecycle.runOut(plugin, "on_uninstall");
  return {};
}
