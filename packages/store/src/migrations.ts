import { readdir, readFile } from "node:fs/promises";
import { sql, type Kysely } from "kysely";
import { Migrator, type Migration, type MigrationProvider } from "kysely/migration";
import { ensureSchema, wordsForRights } from "./ensure-schema.ts";
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

// Kysely's number, so that other versions of this package wait too.
const lockId = "3853314791062309107";
/** Of others' migrations, and of whoever works on a table. */
const lockTimeoutMs = 3_600_000;

/**
 * Brings the tables to the newest version, or takes them back by `steps`, in one transaction: nothing is left half done, and a pooler may
 * stand before the server. Processes that start together wait for one another.
 * @param schema undefined: as the role has it
 * @throws MillraceError `failed_precondition` when the role lacks a right
 */
export async function migrate(
  db: Kysely<Schema>,
  direction: "up" | { readonly down: number },
  schema?: string,
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`SELECT set_config('lock_timeout', ${String(lockTimeoutMs)}, true)`.execute(transaction);
    await sql`SELECT pg_advisory_xact_lock(${lockId}::bigint)`.execute(transaction);
    const migrationTableSchema = await ensureSchema(transaction, schema);
    const migrator = new Migrator({ db: transaction, provider: pairsOfFiles, migrationTableSchema });
    const steps = direction === "up" ? 1 : direction.down;
    for (let step = 0; step < steps; step++) {
      const { error } = direction === "up" ? await migrator.migrateToLatest() : await migrator.migrateDown();
      if (error !== undefined) throw wordsForRights(error, migrationTableSchema);
    }
  });
}
