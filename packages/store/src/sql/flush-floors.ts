import { CompiledQuery, type Kysely } from "kysely";
import { textArray } from "../binary-array.ts";
import type { Schema } from "../schema.ts";
import { readCursors, type StoredCursor } from "./read-cursors.ts";

/** Below what a log may be trimmed, as far as rows know. */
export interface Floors {
  /** Flushed: what was read up to there is on disk. */
  readonly cursors: ReadonlyMap<string, StoredCursor>;
  /** The lowest sequence in each log that is an unfinished job's place; a log without one is left out. */
  readonly unfinished: ReadonlyMap<string, number>;
}

// Each by the first entry of an index, whatever the table holds.
const lowest = `SELECT log AS stream, (
  SELECT stream_seq FROM jobs WHERE stream = log AND state IN (1, 2, 3, 4) ORDER BY stream_seq LIMIT 1
) AS seq FROM unnest($1::text[]) AS log`;

/**
 * Puts on disk what the projection of this name has written, with all its cursors: its transactions do not wait for the disk. One
 * commit that does flushes all that were before it (https://www.postgresql.org/docs/current/wal-async-commit.html).
 */
export async function flushFloors(db: Kysely<Schema>, name: string, logs: readonly string[]): Promise<Floors> {
  return db.transaction().execute(async (transaction) => {
    await transaction.executeQuery(CompiledQuery.raw("SELECT set_config('synchronous_commit', 'on', true)"));
    await transaction.executeQuery(
      CompiledQuery.raw("UPDATE projection_cursor SET flushed_seq = seq WHERE name = $1", [name]),
    );
    const cursors = await readCursors(transaction, name);
    const { rows } = await transaction.executeQuery<{ stream: string; seq: number | null }>(
      CompiledQuery.raw(lowest, [textArray([...logs])]),
    );
    const unfinished = new Map<string, number>();
    for (const { stream, seq } of rows) if (seq !== null) unfinished.set(stream, seq);
    return { cursors, unfinished };
  });
}
