import type { PluginKey, TrustPluginKeyRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

export async function trustPluginKey(
  context: ControlContext,
  { publicKey, owner, notAfter }: TrustPluginKeyRequest,
): Promise<{ key: PluginKey }> {
  const key = await context.keys.trust(publicKey, owner, notAfter);
  context.events.keyTrusted(key.keyId, key.owner);
  return { key };
}
