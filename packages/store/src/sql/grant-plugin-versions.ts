import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Replaces what every version of a plugin is granted. */
export async function grantPluginVersions(db: Kysely<Schema>, name: string, grants: readonly string[]): Promise<void> {
  await db
    .updateTable("plugin_versions")
    .set({ grants: [...grants] })
    .where("name", "=", name)
    .execute();
}
