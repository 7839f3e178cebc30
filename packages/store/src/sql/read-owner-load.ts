import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** What one user's jobs that have not ended come to, as the read model knows it. */
export interface OwnerLoad {
  readonly jobs: number;
  /** Of their payloads. */
  readonly bytes: number;
  /** The message of each log up to which it is complete; a log that was never read is left out. */
  readonly cursors: ReadonlyMap<string, number>;
}

/** @param cursor name of the projection */
export async function readOwnerLoad(db: Kysely<Schema>, owner: string, cursor: string): Promise<OwnerLoad> {
  // One statement: the counts and how far they reach are of the same moment.
  const { rows } = await sql<{ log: string; seq: number; jobs: number | null; bytes: number | null }>`
    SELECT c.log, c.seq, o.jobs, o.bytes FROM projection_cursor AS c LEFT JOIN owner_stats AS o ON o.owner = ${owner}
    WHERE c.name = ${cursor}`.execute(db);
  const [first] = rows;
  return {
    jobs: first?.jobs ?? 0,
    bytes: first?.bytes ?? 0,
    cursors: new Map(rows.map(({ log, seq }) => [log, seq])),
  };
}
