import { PostgresAdapter, PostgresDialect, type DialectAdapter } from "kysely";
import type pg from "pg";
import { scopedPool, type StatementScope } from "./scoped-pool.ts";

/** Kysely on a pool, with a scope for its statements. */
export class StoreDialect extends PostgresDialect {
  constructor(pool: pg.Pool, scope: StatementScope | undefined) {
    super({ pool: scope === undefined ? pool : scopedPool(pool, scope) });
  }

  override createAdapter(): DialectAdapter {
    return new LocklessAdapter();
  }
}

/**
 * Kysely's own lock of migrations belongs to the session: it stays behind in a pooler's when a migration fails. `migrate` takes one of
 * its transaction before.
 */
class LocklessAdapter extends PostgresAdapter {
  override async acquireMigrationLock(): Promise<void> {}
  override async releaseMigrationLock(): Promise<void> {}
}
