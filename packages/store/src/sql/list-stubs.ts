import type { Priority } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** A row that events made and no submission: its job cannot be read in full, and perhaps never will be. */
export interface StubJob {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: Priority;
  readonly attempt: number;
  readonly version: number;
}

/** Unfinished ones of which nothing was heard for so long, by the database's clock. */
export async function listStubs(db: Kysely<Schema>, olderThanMs: number, limit: number): Promise<StubJob[]> {
  const { rows } = await sql<StubJob>`
    SELECT id, queue, type, priority, attempt, version FROM jobs
    WHERE state IN (1, 2, 3, 4) AND headers IS NULL
      AND updated_at < clock_timestamp() - ${olderThanMs} * interval '1 millisecond'
    LIMIT ${limit}`.execute(db);
  return rows;
}
