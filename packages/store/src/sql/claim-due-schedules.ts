import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Schedule } from "./insert-schedules.ts";

/**
 * Takes schedules whose time has come, the earliest first. Nobody else gets them for `leaseMs`; when they are not
 * deleted by then, they are due again. No transaction stays open while they are published.
 */
export async function claimDueSchedules(
  db: Kysely<Schema>,
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number },
): Promise<Schedule[]> {
  const { rows } = await sql<{
    id: string;
    attempt: number;
    due_at: Date;
    subject: string;
    payload: Buffer;
    headers: Record<string, string[]>;
  }>`
    UPDATE schedules AS s SET due_at = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
    FROM (
      SELECT id, due_at FROM schedules WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT ${limit}
      FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE s.id = due.id
    RETURNING s.id, s.attempt, due.due_at, s.subject, s.payload, s.headers`.execute(db);
  return rows
    .map((row) => ({
      id: row.id,
      attempt: row.attempt,
      dueAtMs: row.due_at.getTime(),
      subject: row.subject,
      payload: row.payload,
      headers: row.headers,
    }))
    .toSorted((a, b) => a.dueAtMs - b.dueAtMs);
}
