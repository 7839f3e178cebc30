import pg from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import { openPglitePool, type OpenPool } from "../open-pool.ts";
import { openStore } from "../open-store.ts";
import { Store } from "../store.ts";
import { startTestPgbouncer } from "./test-pgbouncer.ts";
import { findPostgresBinaries, startTestPostgres } from "./test-postgres.ts";

export { testPatch, testSubmission } from "./job-patch.ts";
export { findPgbouncer, startTestPgbouncer, type TestPgbouncer } from "./test-pgbouncer.ts";
export { findPostgresBinaries, startTestPostgres, type Durability, type TestPostgres } from "./test-postgres.ts";

/** Starting PGlite or a server, on a busy machine. */
const setUpMs = 60_000;

/** A database of one test's own, migrated. A test has one at a time. */
export type OpenTestStore = () => Promise<Store>;

/**
 * Runs the suite on PGlite and on PostgreSQL: the server of DATABASE_URL, else the binaries that MILLRACE_TEST_POSTGRES_BIN names or
 * that are installed, else skipped with a message. Where MILLRACE_TEST_PGBOUNCER_BIN is set it runs a third time: through a PgBouncer
 * that shares sessions, in a schema of its own, as a role that may do nothing else.
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
    onServer(suite, async (stack) => {
      const url = given ?? stack.use(await startTestPostgres(binaries ?? "")).url;
      return { administrator: url, direct: url, used: url };
    });
  });

  // Every test of the store again: for who asks for it.
  const pgbouncer = process.env["MILLRACE_TEST_PGBOUNCER_BIN"] ?? "";
  if (binaries === undefined || pgbouncer === "") return;
  describe("on PostgreSQL behind PgBouncer", () => {
    onServer(suite, async (stack) => {
      const { url } = stack.use(await startTestPostgres(binaries));
      await execute(url, "CREATE ROLE plain LOGIN");
      const pooler = stack.use(await startTestPgbouncer(pgbouncer, url, { roles: ["millrace", "plain"], sessions: 2 }));
      const direct = withRole(url, "plain");
      return { administrator: url, direct, used: pooler.through(direct), schema: "millrace_jobs" };
    });
  });
}

interface Server {
  /** Who may make databases. */
  readonly administrator: string;
  /** Where the template is made: a pooler would keep connections to it. */
  readonly direct: string;
  /** Where tests run. */
  readonly used: string;
  readonly schema?: string;
}

function onServer(
  suite: (openTestStore: OpenTestStore) => void,
  start: (stack: AsyncDisposableStack) => Promise<Server>,
): void {
  const stack = new AsyncDisposableStack();
  let server: Server = { administrator: "", direct: "", used: "" };
  const template = databaseName("template");
  beforeAll(async () => {
    server = await start(stack);
    const { administrator, direct, schema } = server;
    await execute(administrator, `CREATE DATABASE ${template} OWNER ${new URL(direct).username}`);
    stack.defer(() => execute(administrator, `DROP DATABASE IF EXISTS ${template} WITH (FORCE)`));
    await using store = await openStore({ databaseUrl: withDatabase(direct, template), schema });
    await store.migrate();
  }, setUpMs);
  afterAll(() => stack.disposeAsync(), setUpMs);
  suite(async () => {
    const { administrator, used, schema } = server;
    const name = databaseName("test");
    await execute(administrator, `CREATE DATABASE ${name} TEMPLATE ${template} OWNER ${new URL(used).username}`);
    const store = await openStore({ databaseUrl: withDatabase(used, name), schema });
    const close = store[Symbol.asyncDispose].bind(store);
    store[Symbol.asyncDispose] = async () => {
      await close();
      await execute(administrator, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    };
    return store;
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

export function withRole(url: string, role: string): string {
  const changed = new URL(url);
  changed.username = role;
  return changed.href;
}

export function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

export async function execute(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
