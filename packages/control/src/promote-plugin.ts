import { MillraceError, PluginState, type Plugin, type PromotePluginRequest } from "@millrace/protocol";
import { moved } from "./advance-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { handOver } from "./plugin-versions.ts";

/** One change of the record: the canary's hooks were run when it began. */
export async function promotePlugin(
  context: ControlContext,
  { name }: PromotePluginRequest,
): Promise<{ plugin: Plugin }> {
  const plugin = await context.plugins.change(name, async (found) => {
    const version = found.canary?.version;
    if (version === undefined || found.state !== PluginState.ACTIVE) {
      throw new MillraceError("failed_precondition", `${name} has no canary that runs`);
    }
    const refusal = await context.keys.refuse(version);
    if (refusal !== undefined) throw new MillraceError("failed_precondition", `the canary may not run: ${refusal}`);
    return moved(handOver(found, version), "swapped");
  });
  context.events.pluginChanged(plugin);
  return { plugin };
}
