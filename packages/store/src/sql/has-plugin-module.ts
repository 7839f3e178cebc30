import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Whether a version of any plugin has the module. */
export async function hasPluginModule(db: Kysely<Schema>, sha256: string): Promise<boolean> {
  const row = await db
    .selectFrom("plugin_versions")
    .select("sha256")
    .where("sha256", "=", sha256)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}
