import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { ProjectionCursor } from "./advance-cursor.ts";

/** How far the projection of this name has read; undefined when it never ran. */
export async function readCursor(db: Kysely<Schema>, name: string): Promise<ProjectionCursor | undefined> {
  const row = await db
    .selectFrom("projection_cursor")
    .select(["seq", "stream_created_ms"])
    .where("name", "=", name)
    .executeTakeFirst();
  return row === undefined ? undefined : { seq: row.seq, streamCreatedMs: row.stream_created_ms };
}
