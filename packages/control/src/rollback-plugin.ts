import {
  MillraceError,
  PluginState,
  type Plugin,
  type PluginVersion,
  type RollbackPluginRequest,
} from "@millrace/protocol";
import { moved } from "./advance-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { fromStored, handOver, isSameVersion, servingVersion, withoutCanary } from "./plugin-versions.ts";

/** So much of a module's hash tells it from the others, as in Git. */
const leastHashDigits = 4;

/**
 * Takes back a canary, or serves the previous or a named version: one change of the record, and no hook is run while the
 * plugin serves. Only a version that is neither serving nor previous is looked up in the database.
 */
export async function rollbackPlugin(
  context: ControlContext,
  { name, version }: RollbackPluginRequest,
): Promise<{ plugin: Plugin }> {
  const { plugin: before } = await context.plugins.get(name);
  const target = version === "" ? undefined : await findVersion(context, before, version);
  const plugin = await context.plugins.change(name, async (found) => {
    if (target === undefined && found.canary !== undefined) {
      const taken = found.canary.version?.manifest?.version ?? "";
      return { ...withoutCanary(found), stateReason: `canary ${taken} was taken back by an operator` };
    }
    const back = target ?? found.previous;
    if (back === undefined) throw new MillraceError("failed_precondition", `${name} has no version to go back to`);
    return context.lifecycle.prepare(await restore(context, found, back));
  });
  context.events.pluginChanged(plugin);
  return { plugin: plugin.state === PluginState.ACTIVE ? plugin : await context.lifecycle.settle(name) };
}

async function restore(context: ControlContext, found: Plugin, back: PluginVersion): Promise<Plugin> {
  const refusal = await context.keys.refuse(back);
  const number = back.manifest?.version ?? "";
  if (refusal !== undefined)
    throw new MillraceError("failed_precondition", `version ${number} may not run: ${refusal}`);
  await context.typeClaims.claim(found.manifest?.name ?? "", back.manifest?.handlers.map(({ type }) => type) ?? []);
  if (isSameVersion(servingVersion(found), back) && found.state !== PluginState.INSTALLED) return withoutCanary(found);
  const restored = moved(handOver(found, back), "restored", `went back from ${found.manifest?.version ?? ""}`);
  if (found.state !== PluginState.INSTALLED) return restored;
  // What was not fit to run is nothing to go back to.
  const fit = { ...restored, enabled: true };
  delete fit.previous;
  return fit;
}

async function findVersion(context: ControlContext, plugin: Plugin, wanted: string): Promise<PluginVersion> {
  const isWanted = ({ manifest, sha256 }: PluginVersion): boolean =>
    manifest?.version === wanted || (wanted.length >= leastHashDigits && sha256.startsWith(wanted));
  const near = [plugin.previous, servingVersion(plugin)].find((one) => one !== undefined && isWanted(one));
  if (near !== undefined) return near;
  const name = plugin.manifest?.name ?? "";
  const stored = (await context.store.listPluginVersions(name)).map(fromStored).find(isWanted);
  if (stored === undefined) throw new MillraceError("not_found", `${name} has no version ${JSON.stringify(wanted)}`);
  return stored;
}
