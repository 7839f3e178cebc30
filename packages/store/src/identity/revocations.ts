import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { RevocationsTable } from "./identity-schema.ts";
import type { RunQuery } from "./run-query.ts";

/** Something that ended before its time. */
export interface Revocation {
  readonly seq: number;
  readonly kind: RevocationsTable["kind"];
  readonly subject: string;
  /** Of users: what was issued before is void. Unix ms, by the database's clock. */
  readonly atMs: number;
}

/** What ended, for whoever checks access tokens without asking. */
export class Revocations {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** What was revoked within the last so many ms. */
  async listRecent(withinMs: number): Promise<Revocation[]> {
    const rows = await this.#run((db) =>
      db
        .selectFrom("revocations")
        .selectAll()
        .where("at", ">", sql<Date>`now() - ${withinMs} * interval '1 millisecond'`)
        .orderBy("seq")
        .execute(),
    );
    return rows.map(({ seq, kind, subject, at }) => ({ seq, kind, subject, atMs: at.getTime() }));
  }
}

/**
 * Records what ended, in the transaction that ends it. The row it is about must be locked by then: the time lies after
 * every reading of that row that came before the lock.
 */
export async function insertRevocations(
  db: Kysely<Schema>,
  kind: RevocationsTable["kind"],
  subjects: readonly string[],
): Promise<void> {
  if (subjects.length === 0) return;
  // A whole millisecond, and after the present one: times of tokens are compared in milliseconds.
  const at = sql<Date>`date_trunc('milliseconds', clock_timestamp()) + interval '1 millisecond'`;
  await db
    .insertInto("revocations")
    .values(subjects.map((subject) => ({ kind, subject, at })))
    .execute();
}
