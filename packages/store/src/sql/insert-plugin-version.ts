import { toJsonString } from "@bufbuild/protobuf";
import { MillraceError, PluginManifestSchema } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import pg from "pg";
import type { StoredPluginVersion } from "../plugin-version.ts";
import type { Schema } from "../schema.ts";

/** Replaceable versions of one plugin that are kept: its author's loop makes one with each save. */
const mostReplaceable = 20;
const uniqueViolation = "23505";

/**
 * Keeps one upload. The same module under the same number again replaces the rest of its row.
 * @returns hashes of the modules that no row of any plugin names any more: replaceable versions beyond the newest
 * @throws MillraceError `already_exists` when the number stands for another module, and is not replaceable
 */
export async function insertPluginVersion(db: Kysely<Schema>, added: StoredPluginVersion): Promise<string[]> {
  const { manifest, sha256, sizeBytes, signature, grants, replaceable, uploadedAtMs } = added;
  const { name, version } = manifest;
  const row = {
    name,
    version,
    sha256,
    size_bytes: sizeBytes,
    manifest: sql<never>`${toJsonString(PluginManifestSchema, manifest)}::jsonb`,
    key_id: signature?.keyId ?? null,
    signature: signature === undefined ? null : Buffer.from(signature.bytes),
    grants: [...grants],
    replaceable,
    uploaded_at: new Date(uploadedAtMs),
  };
  try {
    return await db.transaction().execute(async (transaction) => {
      await transaction
        .insertInto("plugin_versions")
        .values(row)
        .onConflict((on) => on.columns(["name", "version", "sha256"]).doUpdateSet(row))
        .execute();
      return forgetOld(transaction, name);
    });
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== uniqueViolation) throw error;
    throw new MillraceError("already_exists", `version ${version} of ${name} is another module`, { cause: error });
  }
}

async function forgetOld(db: Kysely<Schema>, name: string): Promise<string[]> {
  const { rows } = await sql<{ sha256: string }>`
    WITH old AS (
      SELECT name, version, sha256 FROM plugin_versions WHERE name = ${name} AND replaceable
      ORDER BY uploaded_at DESC OFFSET ${mostReplaceable}
    ), gone AS (
      DELETE FROM plugin_versions AS v USING old
      WHERE v.name = old.name AND v.version = old.version AND v.sha256 = old.sha256
      RETURNING v.name, v.version, v.sha256
    )
    SELECT DISTINCT sha256 FROM gone WHERE NOT EXISTS (
      SELECT 1 FROM plugin_versions AS v WHERE v.sha256 = gone.sha256
        AND (v.name, v.version, v.sha256) NOT IN (SELECT name, version, sha256 FROM old)
    )`.execute(db);
  return rows.map((row) => row.sha256);
}
