import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Ms until the next schedule is due by the database's clock, 0 when it is overdue; undefined when none waits. */
export async function nextScheduleDelayMs(db: Kysely<Schema>): Promise<number | undefined> {
  const { rows } = await sql<{ delay: number }>`
    SELECT (extract(epoch FROM due_at - clock_timestamp()) * 1000)::float8 AS delay
    FROM schedules ORDER BY due_at LIMIT 1`.execute(db);
  const delay = rows[0]?.delay;
  return delay === undefined ? undefined : Math.max(0, delay);
}
