import type { Plugin, PluginKey, RevokePluginKeyRequest } from "@millrace/protocol";
import { moved } from "./advance-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { nameOf } from "./plugin-registry.ts";
import { servingVersion, withoutCanary } from "./plugin-versions.ts";

/** Workers follow the keys by themselves; the records say the same to people. Asked again, it ends what was interrupted. */
export async function revokePluginKey(
  context: ControlContext,
  { keyId, reason }: RevokePluginKeyRequest,
): Promise<{ key: PluginKey }> {
  const key = await context.keys.revoke(keyId, reason);
  context.events.keyRevoked(keyId, reason);
  for (const plugin of await context.plugins.all()) {
    const isSigner = [plugin.signature, plugin.canary?.version?.signature].some((one) => one?.keyId === keyId);
    if (!isSigner) continue;
    const changed = await context.plugins.change(nameOf(plugin), (found) => withoutUntrusted(context, found));
    context.events.pluginChanged(changed);
  }
  return { key };
}

async function withoutUntrusted(context: ControlContext, plugin: Plugin): Promise<Plugin> {
  const refusal = await context.keys.refuse(servingVersion(plugin));
  if (refusal !== undefined) return { ...moved(withoutCanary(plugin), "refused", refusal), enabled: false };
  const version = plugin.canary?.version;
  const canaryRefusal = version === undefined ? undefined : await context.keys.refuse(version);
  if (canaryRefusal === undefined) return plugin;
  return { ...withoutCanary(plugin), stateReason: `canary was taken back: ${canaryRefusal}` };
}
