import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { LogCursor } from "./advance-cursor.ts";

/** A cursor as it is kept. */
export interface StoredCursor extends LogCursor {
  /** Rows of what was read up to here survive a crash of the database. */
  readonly flushedSeq: number;
  readonly announcedSeq: number;
}

/** How far the projection of this name has read each log; empty when it never ran. */
export async function readCursors(db: Kysely<Schema>, name: string): Promise<Map<string, StoredCursor>> {
  const rows = await db.selectFrom("projection_cursor").selectAll().where("name", "=", name).execute();
  return new Map(
    rows.map((row) => [
      row.log,
      {
        seq: row.seq,
        streamCreatedMs: row.stream_created_ms,
        atMs: row.at_ms,
        flushedSeq: row.flushed_seq,
        announcedSeq: row.announced_seq,
      },
    ]),
  );
}
