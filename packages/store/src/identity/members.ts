import { sql } from "kysely";
import type { RunQuery } from "./run-query.ts";

/** Processes that serve identity, as they say themselves from time to time. */
export class Members {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** Says that `id` is at work, and forgets those that have not said so for `silentMs`. @returns how many are, itself among them */
  beat(id: string, silentMs: number): Promise<number> {
    return this.#run(async (db) => {
      await sql`INSERT INTO identity_members (id, seen_at) VALUES (${id}, now())
        ON CONFLICT (id) DO UPDATE SET seen_at = now()`.execute(db);
      await sql`DELETE FROM identity_members WHERE seen_at < now() - ${silentMs} * interval '1 millisecond'`.execute(
        db,
      );
      const { rows } = await sql<{ count: number }>`SELECT count(*)::int AS count FROM identity_members`.execute(db);
      return Math.max(1, rows[0]?.count ?? 1);
    });
  }

  async leave(id: string): Promise<void> {
    await this.#run((db) => db.deleteFrom("identity_members").where("id", "=", id).execute());
  }
}
