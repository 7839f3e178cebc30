import type { RowStanding } from "@millrace/protocol";
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Where the jobs of these ids stand; those that no row has are left out. */
export async function findStandings(db: Kysely<Schema>, ids: readonly string[]): Promise<RowStanding[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom("jobs")
    .select(["id", "state", "version", "stream_version", "stream", "stream_seq"])
    .where("id", "in", [...ids])
    .execute();
  return rows.map((row) => ({
    id: row.id,
    state: row.state,
    version: row.version,
    placeVersion: row.stream_version,
    stream: row.stream ?? "",
    seq: row.stream_seq ?? 0,
  }));
}
