import { fromJson } from "@bufbuild/protobuf";
import { PluginManifestSchema, type PluginManifest } from "@millrace/protocol";
import type { Selectable } from "kysely";
import type { PluginVersionsTable } from "./schema.ts";

/** One upload of a plugin, as it is kept. */
export interface StoredPluginVersion {
  readonly manifest: PluginManifest;
  /** Of the module, in hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly signature: { readonly keyId: string; readonly bytes: Uint8Array } | undefined;
  /** Names of capabilities that an operator has granted, declared or not. */
  readonly grants: readonly string[];
  /** The number may be given to another module. */
  readonly replaceable: boolean;
  /** Unix ms. */
  readonly uploadedAtMs: number;
}

/** The one conversion between a row and what control works with. */
export function toPluginVersion(row: Selectable<PluginVersionsTable>): StoredPluginVersion {
  return {
    manifest: fromJson(PluginManifestSchema, row.manifest, { ignoreUnknownFields: true }),
    sha256: row.sha256,
    sizeBytes: row.size_bytes,
    signature:
      row.key_id === null || row.signature === null
        ? undefined
        : { keyId: row.key_id, bytes: new Uint8Array(row.signature) },
    grants: row.grants,
    replaceable: row.replaceable,
    uploadedAtMs: row.uploaded_at.getTime(),
  };
}
