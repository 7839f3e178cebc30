import type { JobState, Priority } from "@millrace/protocol";
import { CompiledQuery, type Kysely } from "kysely";
import { int8Array, textArray } from "../binary-array.ts";
import type { Schema } from "../schema.ts";

/** An unfinished job whose place is in a log. */
export interface PlacedJob {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: Priority;
  readonly state: JobState;
  readonly version: number;
  readonly stream: string;
  readonly seq: number;
  readonly placeVersion: number;
  /** When an event last told of it, Unix ms. */
  readonly updatedAtMs: number;
}

/** Which of a log's unfinished jobs; one that meets any of the three, in the order of their places. */
export interface UnfinishedFilter {
  /** By queue: at or below this sequence. */
  readonly atOrBelow?: ReadonlyMap<string, number>;
  /** In whatever queue: below this sequence. */
  readonly below?: number;
  /** In whatever queue: above this sequence. */
  readonly above?: number;
  /** Places up to here were looked at already. */
  readonly afterSeq?: number;
  readonly limit: number;
}

const statement = `SELECT id, jobs.queue, type, priority, state, version, stream, stream_seq, stream_version, updated_at
FROM jobs LEFT JOIN unnest($2::text[], $3::int8[]) AS f (queue, floor) ON f.queue = jobs.queue
WHERE stream = $1 AND state IN (1, 2, 3, 4) AND stream_seq > $6
  AND (stream_seq <= f.floor OR stream_seq < $4 OR stream_seq > $5)
ORDER BY stream_seq LIMIT $7`;

export async function listUnfinished(
  db: Kysely<Schema>,
  stream: string,
  { atOrBelow = new Map(), below = 0, above = Number.MAX_SAFE_INTEGER, afterSeq = 0, limit }: UnfinishedFilter,
): Promise<PlacedJob[]> {
  const { rows } = await db.executeQuery<{
    id: string;
    queue: string;
    type: string;
    priority: Priority;
    state: JobState;
    version: number;
    stream: string;
    stream_seq: number;
    stream_version: number;
    updated_at: Date;
  }>(
    CompiledQuery.raw(statement, [
      stream,
      textArray([...atOrBelow.keys()]),
      int8Array([...atOrBelow.values()]),
      below,
      above,
      afterSeq,
      limit,
    ]),
  );
  return rows.map((row) => ({
    id: row.id,
    queue: row.queue,
    type: row.type,
    priority: row.priority,
    state: row.state,
    version: row.version,
    stream: row.stream,
    seq: row.stream_seq,
    placeVersion: row.stream_version,
    updatedAtMs: row.updated_at.getTime(),
  }));
}

/** How many unfinished jobs have their place in a log; `limit` when there are more. */
export async function countUnfinished(db: Kysely<Schema>, stream: string, limit: number): Promise<number> {
  const { rows } = await db.executeQuery<{ n: number }>(
    CompiledQuery.raw(
      "SELECT count(*) AS n FROM (SELECT 1 FROM jobs WHERE stream = $1 AND state IN (1, 2, 3, 4) LIMIT $2) AS counted",
      [stream, limit],
    ),
  );
  return rows[0]?.n ?? 0;
}
