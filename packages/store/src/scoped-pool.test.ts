import { Kysely, sql } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StatementScope } from "./scoped-pool.ts";
import { StoreDialect } from "./store-dialect.ts";
import {
  execute,
  findPgbouncer,
  findPostgresBinaries,
  startTestPgbouncer,
  startTestPostgres,
} from "./testing/each-database.ts";

const binaries = findPostgresBinaries();
const pgbouncer = findPgbouncer();
const setUpMs = 60_000;

interface Tables {
  readonly t: { readonly n: number };
}

describe.skipIf(binaries === undefined)("statements run in their scope", () => {
  const stack = new AsyncDisposableStack();
  let server = "";
  let pooled = "";
  beforeAll(async () => {
    server = stack.use(await startTestPostgres(binaries ?? "")).url;
    await execute(
      server,
      'CREATE SCHEMA "a b"; CREATE TABLE "a b".t (n int PRIMARY KEY); CREATE TABLE t (n int); INSERT INTO t VALUES (-1)',
    );
    if (pgbouncer === undefined) return;
    const pooler = stack.use(await startTestPgbouncer(pgbouncer, server, { roles: ["millrace"], sessions: 1 }));
    pooled = pooler.through(server);
  }, setUpMs);
  afterAll(() => stack.disposeAsync(), setUpMs);

  function open(url: string, scope: StatementScope, config: pg.PoolConfig = {}) {
    const pool = new pg.Pool({ connectionString: url, max: 2, ...config });
    const db = new Kysely<Tables>({ dialect: new StoreDialect(pool, scope) });
    return { db, [Symbol.asyncDispose]: () => pool.end() };
  }

  for (const through of ["a server", "PgBouncer"]) {
    describe.skipIf(through === "PgBouncer" && pgbouncer === undefined)(`of ${through}`, () => {
      const url = (): string => (through === "PgBouncer" ? pooled : server);

      test("with and without values, in transactions and outside, also after one that failed", async () => {
        await using opened = open(url(), { schema: "a b", timeoutMs: 5000 });
        const { db } = opened;
        await db.deleteFrom("t").execute();
        const inserted = await db
          .insertInto("t")
          .values([{ n: 1 }, { n: 2 }])
          .executeTakeFirst();
        expect(inserted.numInsertedOrUpdatedRows).toBe(2n);
        expect(await db.selectFrom("t").selectAll().orderBy("n").execute()).toEqual([{ n: 1 }, { n: 2 }]);
        expect(await db.selectFrom("t").selectAll().where("n", "=", 2).execute()).toEqual([{ n: 2 }]);
        expect(await db.selectFrom("t").selectAll().where("n", "=", 3).execute()).toEqual([]);
        await expect(db.insertInto("t").values({ n: 1 }).execute()).rejects.toMatchObject({ code: "23505" });
        await expect(sql`SELECT nothing`.execute(db)).rejects.toMatchObject({ code: "42703" });
        const failed = db.transaction().execute(async (transaction) => {
          await transaction.insertInto("t").values({ n: 3 }).execute();
          await transaction.insertInto("t").values({ n: 3 }).execute();
        });
        await expect(failed).rejects.toMatchObject({ code: "23505" });
        const rows = await db
          .transaction()
          .setIsolationLevel("serializable")
          .execute(async (transaction) => {
            await transaction.insertInto("t").values({ n: 4 }).execute();
            return transaction.selectFrom("t").selectAll().orderBy("n").execute();
          });
        expect(rows.map(({ n }) => n)).toEqual([1, 2, 4]);
        expect(await db.selectFrom("t").selectAll().orderBy("n").execute()).toEqual(rows);
      });

      test("a statement that takes too long is given up by the server", async () => {
        await using opened = open(url(), { timeoutMs: 100 });
        const sleep = sql`SELECT pg_sleep(${20})`;
        await expect(sleep.execute(opened.db)).rejects.toMatchObject({ code: "57014" });
        await expect(sql`SELECT pg_sleep(20)`.execute(opened.db)).rejects.toMatchObject({ code: "57014" });
        const inside = opened.db.transaction().execute((transaction) => sleep.execute(transaction));
        await expect(inside).rejects.toMatchObject({ code: "57014" });
        await using other = open(url(), { timeoutMs: 20_000 });
        await sql`SELECT pg_sleep(${0.2})`.execute(other.db);
      });

      test("who was not answered leaves nobody waiting behind", async () => {
        await using opened = open(url(), { timeoutMs: 1500 }, { max: 1, query_timeout: 300 });
        await expect(sql`SELECT pg_sleep(${20})`.execute(opened.db)).rejects.toThrow("Query read timeout");
        expect((await sql`SELECT ${1}::int AS n`.execute(opened.db)).rows).toEqual([{ n: 1 }]);
      });

      test("callers with different scopes may come at once", async () => {
        await using here = open(url(), { schema: "a b" });
        await using there = open(url(), { schema: "public" });
        await here.db.deleteFrom("t").execute();
        const read = ({ db }: typeof here) =>
          Promise.all(
            Array.from({ length: 40 }, async (_, i) => {
              const count = await db.selectFrom("t").select("n").where("n", "<", i).execute();
              return count.length;
            }),
          );
        const [mine, others] = await Promise.all([read(here), read(there)]);
        expect(new Set(mine)).toEqual(new Set([0]));
        expect(new Set(others)).toEqual(new Set([1]));
      });
    });
  }

  test.skipIf(pgbouncer === undefined)("nothing is left in the sessions of a pooler", async () => {
    const ask = async (): Promise<unknown> => {
      const client = new pg.Client({ connectionString: pooled });
      await client.connect();
      const { rows } = await client.query(`SELECT current_setting('search_path') AS path,
        current_setting('statement_timeout') AS timeout, (SELECT count(*)::int FROM pg_prepared_statements) AS prepared,
        (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory') AS locks, pg_backend_pid() AS pid`);
      await client.end();
      return rows[0];
    };
    const before = await ask();
    expect(before).toMatchObject({ path: '"$user", public', timeout: "0", prepared: 0, locks: 0 });
    await using opened = open(pooled, { schema: "a b", timeoutMs: 5000 });
    await opened.db.selectFrom("t").selectAll().where("n", "=", 1).execute();
    await opened.db.transaction().execute((transaction) => transaction.selectFrom("t").selectAll().execute());
    await expect(sql`SELECT nothing`.execute(opened.db)).rejects.toThrow();
    // The same one, as the pooler has no other.
    expect(await ask()).toEqual(before);
  });
});
