import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** What one user's jobs that have not ended come to, as the read model knows it. */
export interface OwnerLoad {
  readonly jobs: number;
  /** Of their payloads. */
  readonly bytes: number;
  /** The message of EVENTS up to which it is complete; 0 before the first. */
  readonly seq: number;
}

/** @param cursor name of the projection */
export async function readOwnerLoad(db: Kysely<Schema>, owner: string, cursor: string): Promise<OwnerLoad> {
  // One statement: the counts and how far they reach are of the same moment.
  const row = await db
    .selectFrom("projection_cursor")
    .leftJoin("owner_stats", (join) => join.on("owner_stats.owner", "=", owner))
    .select(["projection_cursor.seq", "owner_stats.jobs", "owner_stats.bytes"])
    .where("projection_cursor.name", "=", cursor)
    .executeTakeFirst();
  return { jobs: row?.jobs ?? 0, bytes: row?.bytes ?? 0, seq: row?.seq ?? 0 };
}
