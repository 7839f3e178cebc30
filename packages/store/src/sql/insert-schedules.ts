import { CompiledQuery, type Kysely } from "kysely";
import { JobState } from "@millrace/protocol";
import { byteaArray, int4Array, jsonbArray, storableJson, textArray, timestampArray } from "../binary-array.ts";
import { jobVersion } from "../job-patch.ts";
import type { Schema } from "../schema.ts";

/** A job that waits for its time. */
export interface Schedule {
  readonly id: string;
  readonly attempt: number;
  /** Unix ms. */
  readonly dueAtMs: number;
  /** Where to publish it. */
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: Readonly<Record<string, readonly string[]>>;
}

// A message that NATS delivers again after a crash must not bring back a schedule that was published or cancelled
// since: the read model knows the job is further. A lower attempt than the stored one is as stale.
const statement = `
INSERT INTO schedules (id, attempt, due_at, subject, payload, headers)
SELECT DISTINCT ON (t.id) t.id, t.attempt, t.due_at, t.subject, t.payload, t.headers
FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::text[], $5::bytea[], $6::jsonb[])
  AS t (id, attempt, due_at, subject, payload, headers)
WHERE NOT EXISTS (
  SELECT 1 FROM jobs WHERE jobs.id = t.id AND jobs.version >= t.attempt * 16 + ${jobVersion(0, JobState.QUEUED)}
)
ORDER BY t.id, t.attempt DESC
ON CONFLICT (id) DO UPDATE SET
  attempt = excluded.attempt, due_at = excluded.due_at, subject = excluded.subject,
  payload = excluded.payload, headers = excluded.headers
WHERE excluded.attempt > schedules.attempt`;

/** Stores schedules; what is stored already, or has run since, changes nothing. Durable when it returns. */
export async function insertSchedules(db: Kysely<Schema>, schedules: readonly Schedule[]): Promise<void> {
  if (schedules.length === 0) return;
  await db.executeQuery(
    CompiledQuery.raw(statement, [
      textArray(schedules.map((s) => s.id)),
      int4Array(schedules.map((s) => s.attempt)),
      timestampArray(schedules.map((s) => s.dueAtMs)),
      textArray(schedules.map((s) => s.subject)),
      byteaArray(schedules.map((s) => s.payload)),
      jsonbArray(schedules.map((s) => storableJson(s.headers))),
    ]),
  );
}
