import { CompiledQuery, sql, type Kysely } from "kysely";
import { int4Array, textArray } from "../binary-array.ts";
import type { Schema } from "../schema.ts";
import type { Schedule } from "./insert-schedules.ts";

/** Forgets schedules that were published; one that a higher attempt has replaced meanwhile stays. */
export async function deleteSchedules(
  db: Kysely<Schema>,
  done: readonly Pick<Schedule, "id" | "attempt">[],
): Promise<void> {
  if (done.length === 0) return;
  await db.executeQuery(
    CompiledQuery.raw(
      `DELETE FROM schedules AS s USING unnest($1::text[], $2::int4[]) AS t (id, attempt)
       WHERE s.id = t.id AND s.attempt = t.attempt`,
      [textArray(done.map((s) => s.id)), int4Array(done.map((s) => s.attempt))],
    ),
  );
}

/** Takes a waiting job off the schedule. @returns false when there was none (its time has come, or it never waited) */
export async function cancelSchedule(db: Kysely<Schema>, id: string): Promise<boolean> {
  const { numAffectedRows } = await sql`DELETE FROM schedules WHERE id = ${id}`.execute(db);
  return numAffectedRows === 1n;
}
