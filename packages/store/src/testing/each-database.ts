import pg from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import { openPglitePool, type OpenPool } from "../open-pool.ts";
import { openStore } from "../open-store.ts";
import { Store } from "../store.ts";
import { findPostgresBinaries, startTestPostgres } from "./test-postgres.ts";

export { findPostgresBinaries, startTestPostgres, type Durability, type TestPostgres } from "./test-postgres.ts";

/** Starting PGlite or a server, on a busy machine. */
const setUpMs = 60_000;

/** A database of one test's own, migrated. A test has one at a time. */
export type OpenTestStore = () => Promise<Store>;

/**
 * Runs the suite on PGlite and on PostgreSQL: the server of DATABASE_URL, else the binaries that MILLRACE_TEST_POSTGRES_BIN names or
 * that are installed, else skipped with a message.
 */
export function eachDatabase(suite: (openTestStore: OpenTestStore) => void): void {
  describe("on PGlite", () => {
    let engine: OpenPool;
    beforeAll(async () => {
      engine = await openPglitePool("memory://");
      await engine.pool.query("SELECT 1");
    }, setUpMs);
    afterAll(() => engine[Symbol.asyncDispose](), setUpMs);
    suite(() => openCleared(engine));
  });

  const given = process.env["DATABASE_URL"];
  const binaries = findPostgresBinaries();
  if (given === undefined && binaries === undefined) {
    describe.skip("on PostgreSQL (skipped: no DATABASE_URL, and no initdb in /usr/lib/postgresql or the PATH)", () => {
      suite(() => Promise.reject(new Error("skipped")));
    });
    return;
  }
  describe("on PostgreSQL", () => {
    const stack = new AsyncDisposableStack();
    let url = "";
    const template = databaseName("template");
    beforeAll(async () => {
      url = given ?? stack.use(await startTestPostgres(binaries ?? "")).url;
      await execute(url, `CREATE DATABASE ${template}`);
      stack.defer(() => execute(url, `DROP DATABASE IF EXISTS ${template} WITH (FORCE)`));
      await using store = await openStore({ databaseUrl: withDatabase(url, template) });
      await store.migrate();
    }, setUpMs);
    afterAll(() => stack.disposeAsync(), setUpMs);
    suite(async () => {
      const name = databaseName("test");
      await execute(url, `CREATE DATABASE ${name} TEMPLATE ${template}`);
      const store = await openStore({ databaseUrl: withDatabase(url, name) });
      const close = store[Symbol.asyncDispose].bind(store);
      store[Symbol.asyncDispose] = async () => {
        await close();
        await execute(url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      };
      return store;
    });
  });
}

/** PGlite has one database, and starting it takes seconds: each test finds it as after the migrations. */
async function openCleared(engine: OpenPool): Promise<Store> {
  await engine.pool.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  const store = new Store({ ...engine, [Symbol.asyncDispose]: () => Promise.resolve() });
  await store.migrate();
  return store;
}

function databaseName(kind: string): string {
  return `millrace_${kind}_${process.pid}_${Math.random().toString(36).slice(2, 10)}`;
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

async function execute(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
