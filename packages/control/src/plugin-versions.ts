import { clone, create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { PluginSchema, PluginVersionSchema, type Plugin, type PluginVersion } from "@millrace/protocol";
import type { StoredPluginVersion } from "@millrace/store";
import { grantCapabilities } from "./grant-capabilities.ts";

/** The version that serves, or would. */
export function servingVersion(plugin: Plugin): PluginVersion {
  const { manifest, sha256, sizeBytes, uploadedAt, signature, granted } = plugin;
  return create(PluginVersionSchema, {
    sha256,
    sizeBytes,
    ...(manifest === undefined ? {} : { manifest }),
    ...(uploadedAt === undefined ? {} : { uploadedAt }),
    ...(signature === undefined ? {} : { signature }),
    ...(granted === undefined ? {} : { granted }),
  });
}

/** The plugin with another version in the place of the one that serves; nothing else is changed. */
export function withVersion(plugin: Plugin, version: PluginVersion): Plugin {
  const changed = clone(PluginSchema, plugin);
  const { manifest, sha256, sizeBytes, uploadedAt, signature, granted } = version;
  for (const field of ["manifest", "uploadedAt", "signature", "granted"] as const) delete changed[field];
  return Object.assign(changed, {
    sha256,
    sizeBytes,
    ...(manifest === undefined ? {} : { manifest }),
    ...(uploadedAt === undefined ? {} : { uploadedAt }),
    ...(signature === undefined ? {} : { signature }),
    ...(granted === undefined ? {} : { granted }),
  });
}

/** The version takes over; the one that served is what a rollback goes back to. A canary is over. */
export function handOver(plugin: Plugin, version: PluginVersion): Plugin {
  const changed = withVersion(withoutCanary(plugin), version);
  changed.previous = servingVersion(plugin);
  return changed;
}

export function withoutCanary(plugin: Plugin): Plugin {
  const changed = clone(PluginSchema, plugin);
  delete changed.canary;
  return changed;
}

/** A row as the contract has it. */
export function fromStored(stored: StoredPluginVersion): PluginVersion {
  const { manifest, sha256, sizeBytes, signature, grants, uploadedAtMs } = stored;
  return create(PluginVersionSchema, {
    manifest,
    sha256,
    sizeBytes: BigInt(sizeBytes),
    uploadedAt: timestampFromMs(uploadedAtMs),
    granted: grantCapabilities(manifest.capabilities, grants),
    ...(signature === undefined
      ? {}
      : { signature: { keyId: signature.keyId, signature: Uint8Array.from(signature.bytes) } }),
  });
}

/** `name@1.2.3`, for people. */
export function versionName(version: Pick<PluginVersion, "manifest">): string {
  return `${version.manifest?.name ?? ""}@${version.manifest?.version ?? ""}`;
}

export function isSameVersion(a: PluginVersion, b: PluginVersion): boolean {
  return a.sha256 === b.sha256 && a.manifest?.version === b.manifest?.version;
}
