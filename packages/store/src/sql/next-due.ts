import { JobState } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

export interface NextDue {
  /** Ms until the next job is due, 0 when it is overdue; undefined when none waits. */
  readonly delayMs: number | undefined;
  /** The database's clock, Unix ms. */
  readonly nowMs: number;
}

/** When the next job is due. By the database's clock: it is the same for all who ask. */
export async function nextDue(db: Kysely<Schema>): Promise<NextDue> {
  const { rows } = await sql<{ now_ms: number; due_ms: number | null }>`
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms,
      (SELECT (extract(epoch FROM due_at) * 1000)::float8 FROM jobs
        WHERE due_at IS NOT NULL AND state = ${JobState.SCHEDULED} ORDER BY due_at LIMIT 1) AS due_ms`.execute(db);
  const { now_ms: nowMs = 0, due_ms: dueMs = null } = rows[0] ?? {};
  return { nowMs, delayMs: dueMs === null ? undefined : Math.max(0, dueMs - nowMs) };
}
