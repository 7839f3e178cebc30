import { timestampMs } from "@bufbuild/protobuf/wkt";
import { BusError } from "@millrace/bus";
import { MillraceError, type PluginVersion } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { servingVersion } from "./plugin-versions.ts";

/**
 * Keeps an upload among the versions of its plugin, and forgets modules that nothing names any more.
 * @throws MillraceError already_exists when the number stands for another module; unavailable while the database is away
 */
export async function keepVersion(
  context: ControlContext,
  version: PluginVersion,
  grants: readonly string[],
  replaceable: boolean,
): Promise<void> {
  const { manifest, sha256, sizeBytes, signature, uploadedAt } = version;
  if (manifest === undefined || uploadedAt === undefined) return;
  let unused: string[];
  try {
    unused = await context.store.insertPluginVersion({
      manifest,
      sha256,
      sizeBytes: Number(sizeBytes),
      signature: signature === undefined ? undefined : { keyId: signature.keyId, bytes: signature.signature },
      grants,
      replaceable,
      uploadedAtMs: timestampMs(uploadedAt),
    });
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code !== "already_exists") throw error;
    const reason = `${manifest.version} was uploaded with another module: raise it, or use a prerelease such as ${manifest.version}-dev`;
    throw new MillraceError("already_exists", `version ${reason}`, {
      details: [{ field: "manifest.version", reason }],
      cause: error,
    });
  }
  for (const module of unused) await forgetModule(context, module);
}

/** It may be uploaded again at this moment: then its revision is another one, or its row is there. */
async function forgetModule(context: ControlContext, sha256: string): Promise<void> {
  const { modules } = context.bus;
  const revision = await modules.revision(sha256);
  if (revision === undefined || (await context.store.hasPluginModule(sha256))) return;
  const isServed = (await context.plugins.all()).some((plugin) =>
    [servingVersion(plugin), plugin.canary?.version, plugin.previous].some((one) => one?.sha256 === sha256),
  );
  if (isServed) return;
  try {
    await modules.delete(sha256, revision);
  } catch (error) {
    if (!(error instanceof BusError) || error.code !== "aborted") throw error;
  }
}
