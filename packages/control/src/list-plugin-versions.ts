import { MillraceError, type ListPluginVersionsRequest, type PluginVersion } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { fromStored } from "./plugin-versions.ts";

export async function listPluginVersions(
  context: ControlContext,
  { name }: ListPluginVersionsRequest,
): Promise<{ versions: PluginVersion[] }> {
  const stored = await context.store.listPluginVersions(name);
  if (stored.length === 0) throw new MillraceError("not_found", `no plugin ${JSON.stringify(name)}`);
  return { versions: stored.map(fromStored) };
}
