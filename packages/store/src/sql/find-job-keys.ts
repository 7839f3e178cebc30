import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** What tells a job from another one of the same id. */
export interface JobKey {
  readonly queue: string;
  readonly type: string;
  /** "" for nobody's. */
  readonly owner: string;
}

/** By id; ids that no row has are left out. */
export async function findJobKeys(db: Kysely<Schema>, ids: readonly string[]): Promise<Map<string, JobKey>> {
  const rows = await db
    .selectFrom("jobs")
    .select(["id", "queue", "type", "owner"])
    .where(sql<boolean>`id = ANY(${ids}::text[])`)
    .execute();
  return new Map(rows.map(({ id, queue, type, owner }) => [id, { queue, type, owner: owner ?? "" }]));
}
