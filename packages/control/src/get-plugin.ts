import type { GetPluginRequest, Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

export async function getPlugin(context: ControlContext, request: GetPluginRequest): Promise<{ plugin: Plugin }> {
  return { plugin: (await context.plugins.get(request.name)).plugin };
}
