import { MillraceError } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Where a projection stands in its stream. A stream made anew has another creation time. */
export interface ProjectionCursor {
  readonly seq: number;
  readonly streamCreatedMs: number;
}

/** A move of the cursor, from where this reader believes it to be. */
export interface CursorStep {
  readonly name: string;
  /** Undefined: nothing was read yet. */
  readonly from: ProjectionCursor | undefined;
  readonly to: ProjectionCursor;
}

/**
 * Compare and set, which also keeps a second reader of the same name out until the transaction ends.
 * @throws MillraceError `aborted` when the cursor stands elsewhere
 */
export async function advanceCursor(db: Kysely<Schema>, { name, from, to }: CursorStep): Promise<void> {
  const moved =
    from === undefined
      ? await sql`INSERT INTO projection_cursor (name, seq, stream_created_ms)
          VALUES (${name}, ${to.seq}, ${to.streamCreatedMs}) ON CONFLICT DO NOTHING`.execute(db)
      : await sql`UPDATE projection_cursor SET seq = ${to.seq}, stream_created_ms = ${to.streamCreatedMs}
          WHERE name = ${name} AND seq = ${from.seq} AND stream_created_ms = ${from.streamCreatedMs}`.execute(db);
  if (moved.numAffectedRows !== 1n) {
    throw new MillraceError("aborted", `another process moved the cursor of projection ${name}`);
  }
}
