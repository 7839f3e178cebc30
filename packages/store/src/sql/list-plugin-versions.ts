import type { Kysely } from "kysely";
import { toPluginVersion, type StoredPluginVersion } from "../plugin-version.ts";
import type { Schema } from "../schema.ts";

/** Most versions of one answer. */
const mostVersions = 500;

/** Uploads of one plugin, newest first. */
export async function listPluginVersions(db: Kysely<Schema>, name: string): Promise<StoredPluginVersion[]> {
  const rows = await db
    .selectFrom("plugin_versions")
    .selectAll()
    .where("name", "=", name)
    .orderBy("uploaded_at", "desc")
    .orderBy("version", "desc")
    .limit(mostVersions)
    .execute();
  return rows.map(toPluginVersion);
}
