import { readdir, readFile } from "node:fs/promises";
import { sql, type Kysely } from "kysely";
import { Migrator, type Migration, type MigrationProvider } from "kysely/migration";
import type { Schema } from "./schema.ts";

const folder = new URL("../../../migrations/", import.meta.url);

/** Reads `NNNN_name.up.sql` with its `.down.sql`. */
const pairsOfFiles: MigrationProvider = {
  async getMigrations(): Promise<Record<string, Migration>> {
    const files = await readdir(folder);
    const migrations: Record<string, Migration> = {};
    for (const file of files.sort()) {
      const name = /^(\d{4}_[a-z0-9_]+)\.up\.sql$/.exec(file)?.[1];
      if (name === undefined) continue;
      if (!files.includes(`${name}.down.sql`)) throw new Error(`migrations/${name}.down.sql is missing`);
      migrations[name] = { up: (db) => runFile(db, `${name}.up.sql`), down: (db) => runFile(db, `${name}.down.sql`) };
    }
    return migrations;
  },
};

// The type of Kysely's own Migration; a file of SQL does not look at it.
async function runFile(db: Parameters<Migration["up"]>[0], file: string): Promise<void> {
  await sql.raw(await readFile(new URL(file, folder), "utf8")).execute(db);
}

/** Brings the schema to the newest version, or takes it back by `steps`. Processes that start together wait for one another. */
export async function migrate(db: Kysely<Schema>, direction: "up" | { readonly down: number }): Promise<void> {
  const migrator = new Migrator({ db, provider: pairsOfFiles });
  if (direction === "up") {
    const { error } = await migrator.migrateToLatest();
    if (error !== undefined) throw error;
    return;
  }
  for (let step = 0; step < direction.down; step++) {
    const { error } = await migrator.migrateDown();
    if (error !== undefined) throw error;
  }
}
