import { MillraceError } from "@millrace/protocol";
import { CompiledQuery, type Kysely } from "kysely";
import { int8Array, textArray } from "../binary-array.ts";
import type { Schema } from "../schema.ts";

/** Where a projection stands in one of its logs. A stream made anew has another creation time. */
export interface LogCursor {
  readonly seq: number;
  readonly streamCreatedMs: number;
  /** The broker's time of the message at the cursor, Unix ms; 0: not known. */
  readonly atMs: number;
}

/** By the names of the logs. */
export type LogCursors = ReadonlyMap<string, LogCursor>;

/** A move of the cursors, from where this reader believes them to be. */
export interface CursorStep {
  readonly name: string;
  /** What is not here was never read. */
  readonly from: LogCursors;
  /** What is not here stays. */
  readonly to: LogCursors;
  /** Up to where each log was announced; kept as a second record of it. */
  readonly announced?: ReadonlyMap<string, number>;
}

const insert = `INSERT INTO projection_cursor (name, log, seq, stream_created_ms, at_ms, announced_seq)
SELECT $1, t.* FROM unnest($2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[]) AS t ON CONFLICT DO NOTHING`;

const update = `UPDATE projection_cursor AS c
SET seq = t.seq, stream_created_ms = t.created, at_ms = t.at_ms, announced_seq = greatest(t.announced,
    CASE WHEN c.stream_created_ms = t.created THEN c.announced_seq ELSE 0 END),
  flushed_seq = CASE WHEN c.stream_created_ms = t.created THEN least(c.flushed_seq, t.seq) ELSE 0 END
FROM unnest($2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[])
  AS t (log, seq, created, at_ms, announced, from_seq, from_created)
WHERE c.name = $1 AND c.log = t.log AND c.seq = t.from_seq AND c.stream_created_ms = t.from_created`;

/**
 * Compare and set of all cursors that move, which also keeps a second reader of the same name out until the transaction ends.
 * @throws MillraceError `aborted` when one of them stands elsewhere
 */
export async function advanceCursor(db: Kysely<Schema>, { name, from, to, announced }: CursorStep): Promise<void> {
  const known: Move[] = [];
  const fresh: Move[] = [];
  for (const [log, cursor] of to) {
    const before = from.get(log);
    (before === undefined ? fresh : known).push({ log, cursor, before });
  }
  const values = (moves: readonly Move[]): unknown[] => [
    name,
    textArray(moves.map(({ log }) => log)),
    int8Array(moves.map(({ cursor }) => cursor.seq)),
    int8Array(moves.map(({ cursor }) => cursor.streamCreatedMs)),
    int8Array(moves.map(({ cursor }) => cursor.atMs)),
    int8Array(moves.map(({ log }) => announced?.get(log) ?? 0)),
  ];
  let moved = 0n;
  if (fresh.length > 0) {
    const { numAffectedRows = 0n } = await db.executeQuery(CompiledQuery.raw(insert, values(fresh)));
    moved += numAffectedRows;
  }
  if (known.length > 0) {
    const { numAffectedRows = 0n } = await db.executeQuery(
      CompiledQuery.raw(update, [
        ...values(known),
        int8Array(known.map(({ before }) => before?.seq ?? 0)),
        int8Array(known.map(({ before }) => before?.streamCreatedMs ?? 0)),
      ]),
    );
    moved += numAffectedRows;
  }
  if (moved !== BigInt(to.size)) {
    throw new MillraceError("aborted", `another process moved a cursor of projection ${name}`);
  }
}

interface Move {
  readonly log: string;
  readonly cursor: LogCursor;
  readonly before: LogCursor | undefined;
}
