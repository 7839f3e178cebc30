import { clone } from "@bufbuild/protobuf";
import { PluginSchema, type GrantPluginRequest, type Plugin } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { grantCapabilities, parseGrants, refuseUndeclared } from "./grant-capabilities.ts";

/**
 * For every version: what was taken away does not come back by a rollback.
 * @throws MillraceError failed_precondition for a capability that no version at hand declares
 */
export async function grantPlugin(context: ControlContext, request: GrantPluginRequest): Promise<{ plugin: Plugin }> {
  const grants = parseGrants(request.grants);
  const plugin = await context.plugins.change(request.name, (found) => {
    const changed = clone(PluginSchema, found);
    const versions = [changed, changed.canary?.version, changed.previous];
    refuseUndeclared(
      request.grants,
      versions.map((version) => version?.manifest),
    );
    for (const version of versions) {
      if (version !== undefined) version.granted = grantCapabilities(version.manifest?.capabilities, grants);
    }
    return changed;
  });
  context.events.pluginChanged(plugin);
  await context.store.grantPluginVersions(request.name, grants);
  return { plugin };
}
