import { sql } from "kysely";
import type { RunQuery } from "./run-query.ts";

/** How the wait grows: nothing for the first `free` failures, then `firstMs`, doubled each time, up to `longestMs`. */
export interface DelayPolicy {
  readonly free: number;
  readonly firstMs: number;
  readonly longestMs: number;
}

/** Failures are forgotten after so long without another. */
const memoryMs = 24 * 3_600_000;

/** Who has to wait before the next try. Kept in the database, so that a restart forgives nobody. */
export class LoginFailures {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /**
   * Begins a try: it counts as failed until `forgive` or `clear` says otherwise, so that tries at the same time do not
   * slip by. @returns 0, or the ms to wait: then it does not count
   */
  begin(key: string, { free, firstMs, longestMs }: DelayPolicy): Promise<number> {
    return this.#run(async (db) => {
      const memory = sql`now() - ${memoryMs} * interval '1 millisecond'`;
      const failures = sql`CASE WHEN f.failed_at < ${memory} THEN 1 ELSE f.failures + 1 END`;
      // 2^30 ms is beyond every longest wait.
      const delay = sql`CASE WHEN ${failures} <= ${free}::int THEN 0
        ELSE least(${firstMs}::float8 * power(2, least(${failures} - ${free}::int - 1, 30)), ${longestMs}::float8) END`;
      const { rows } = await sql<{ failures: number }>`
        INSERT INTO login_failures AS f (key, failures, failed_at, locked_until) VALUES (${key}, 1, now(), now())
        ON CONFLICT (key) DO UPDATE SET
          failures = ${failures}, failed_at = now(), locked_until = now() + (${delay}) * interval '1 millisecond'
        WHERE f.locked_until <= now()
        RETURNING f.failures`.execute(db);
      if (rows.length > 0) return 0;
      const locked = await db
        .selectFrom("login_failures")
        .select(sql<number>`extract(epoch FROM locked_until - now())::float8 * 1000`.as("ms"))
        .where("key", "=", key)
        .executeTakeFirst();
      return Math.max(1, Math.ceil(locked?.ms ?? 1));
    });
  }

  /** The try did not fail; earlier ones still count. */
  async forgive(key: string): Promise<void> {
    await this.#run((db) =>
      db
        .updateTable("login_failures")
        .set({ failures: sql<number>`greatest(failures - 1, 0)`, locked_until: sql<Date>`now()` })
        .where("key", "=", key)
        .execute(),
    );
  }

  async clear(key: string): Promise<void> {
    await this.#run((db) => db.deleteFrom("login_failures").where("key", "=", key).execute());
  }
}
