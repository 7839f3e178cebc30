import type { JsonValue } from "@bufbuild/protobuf";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** A setting that was changed while the system ran. */
export interface StoredSetting {
  readonly name: string;
  readonly value: JsonValue;
  readonly updatedAtMs: number;
}

/** A feature that is on for a share of users. */
export interface StoredFlag {
  readonly name: string;
  readonly enabled: boolean;
  /** Of users, 0 to 100. */
  readonly percent: number;
  readonly updatedAtMs: number;
}

/** By name. */
export async function listSettings(db: Kysely<Schema>): Promise<StoredSetting[]> {
  const rows = await db.selectFrom("settings").selectAll().orderBy("name").execute();
  return rows.map(({ name, value, updated_at }) => ({ name, value, updatedAtMs: updated_at.getTime() }));
}

export async function putSetting(db: Kysely<Schema>, { name, value, updatedAtMs }: StoredSetting): Promise<void> {
  const row = { value: sql<never>`${JSON.stringify(value)}::jsonb`, updated_at: new Date(updatedAtMs) };
  await db
    .insertInto("settings")
    .values({ name, ...row })
    .onConflict((on) => on.column("name").doUpdateSet(row))
    .execute();
}

export async function deleteSetting(db: Kysely<Schema>, name: string): Promise<void> {
  await db.deleteFrom("settings").where("name", "=", name).execute();
}

/** By name. */
export async function listFlags(db: Kysely<Schema>): Promise<StoredFlag[]> {
  const rows = await db.selectFrom("flags").selectAll().orderBy("name").execute();
  return rows.map(({ updated_at, ...flag }) => ({ ...flag, updatedAtMs: updated_at.getTime() }));
}

export async function putFlag(db: Kysely<Schema>, { name, enabled, percent, updatedAtMs }: StoredFlag): Promise<void> {
  const row = { enabled, percent, updated_at: new Date(updatedAtMs) };
  await db
    .insertInto("flags")
    .values({ name, ...row })
    .onConflict((on) => on.column("name").doUpdateSet(row))
    .execute();
}

export async function deleteFlag(db: Kysely<Schema>, name: string): Promise<void> {
  await db.deleteFrom("flags").where("name", "=", name).execute();
}
