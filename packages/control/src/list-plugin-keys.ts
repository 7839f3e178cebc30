import type { PluginKey } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

export async function listPluginKeys(context: ControlContext): Promise<{ keys: PluginKey[] }> {
  return { keys: await context.keys.all() };
}
