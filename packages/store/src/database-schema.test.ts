import { randomUUID } from "node:crypto";
import { JobState, Role } from "@millrace/protocol";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openStore } from "./open-store.ts";
import type { Store } from "./store.ts";
import {
  execute,
  findPgbouncer,
  findPostgresBinaries,
  startTestPgbouncer,
  startTestPostgres,
  withDatabase,
  withRole,
} from "./testing/each-database.ts";
import { testPatch, testSubmission } from "./testing/job-patch.ts";
import { eventsAt } from "./testing/log-cursors.ts";
import { readSchema } from "./testing/read-schema.ts";

const binaries = findPostgresBinaries();
const pgbouncer = findPgbouncer();
const setUpMs = 60_000;
const plainRole = "plain";

describe.skipIf(binaries === undefined)("a schema of a database that others use too", () => {
  const stack = new AsyncDisposableStack();
  let server = "";
  let pooled: (url: string) => string = (url) => url;
  beforeAll(async () => {
    server = stack.use(await startTestPostgres(binaries ?? "")).url;
    await execute(server, `CREATE ROLE ${plainRole} LOGIN`);
    if (pgbouncer === undefined) return;
    const roles = ["millrace", plainRole];
    // Fewer sessions than clients: each transaction meets what the one before has left.
    const pooler = stack.use(await startTestPgbouncer(pgbouncer, server, { roles, sessions: 2 }));
    pooled = (url) => pooler.through(url);
  }, setUpMs);
  afterAll(() => stack.disposeAsync(), setUpMs);

  /** @returns url of a database of the test's own, as a role with no rights but those of everybody */
  async function makeDatabase(...statements: readonly string[]): Promise<string> {
    const name = `test_${randomUUID().slice(0, 8)}`;
    await execute(server, `CREATE DATABASE ${name}`);
    stack.defer(() => execute(server, `DROP DATABASE ${name} WITH (FORCE)`));
    const asOwner = withDatabase(server, name);
    for (const statement of statements) await execute(asOwner, statement.replace("$database", name));
    return withRole(asOwner, plainRole);
  }

  for (const pooler of ["without a pooler", "behind PgBouncer"]) {
    const addressOf = (url: string): string => (pooler === "behind PgBouncer" ? pooled(url) : url);
    describe.skipIf(pooler === "behind PgBouncer" && pgbouncer === undefined)(pooler, () => {
      test("a role that may do nothing else makes it, and everything in it", { timeout: 60_000 }, async () => {
        const url = await makeDatabase("GRANT CREATE ON DATABASE $database TO plain");
        const location = { databaseUrl: addressOf(url), schema: "acme_jobs" };
        // Those who come together wait for one another.
        await using first = await openStore(location);
        await using second = await openStore(location);
        await Promise.all([first.migrate(), second.migrate(), first.migrate()]);
        await fill(first, "a");
        expect(await idsOf(second)).toEqual(["a"]);
        expect((await readSchema(first)).length).toBeGreaterThan(40);
        expect(await tablesOf(url, "public")).toEqual([]);
        expect(await tablesOf(url, "acme_jobs")).toEqual(
          expect.arrayContaining(["jobs", "kysely_migration", "kysely_migration_lock", "users"]),
        );
        await first.migrate({ down: 100 });
        expect(await readSchema(first)).toEqual([]);
        await second.migrate();
        expect(await idsOf(second)).toEqual([]);
      });

      test("two installations and one in public do not see each other", { timeout: 60_000 }, async () => {
        const url = await makeDatabase(
          "GRANT CREATE ON SCHEMA public TO plain",
          `CREATE SCHEMA one AUTHORIZATION ${plainRole}`,
          `CREATE SCHEMA two AUTHORIZATION ${plainRole}`,
        );
        const databaseUrl = addressOf(url);
        await using one = await openStore({ databaseUrl, schema: "one" });
        await using two = await openStore({ databaseUrl, schema: "two" });
        await using none = await openStore({ databaseUrl });
        const stores = new Map([
          ["one", one],
          ["two", two],
          ["none", none],
        ]);
        for (const store of stores.values()) await store.migrate();
        await Promise.all([...stores].map(([name, store]) => fill(store, name)));
        for (let round = 0; round < 20; round++) {
          const seen = await Promise.all([...stores.values()].map(idsOf));
          expect(seen).toEqual([["one"], ["two"], ["none"]]);
        }
        // The same id is another job in each.
        await Promise.all([...stores.values()].map((store) => addJob(store, "same", 1)));
        for (const store of stores.values()) expect((await store.getQueueStats("default"))?.succeeded).toBe(2n);
        await one.migrate({ down: 100 });
        await expect(one.getJob("one")).rejects.toMatchObject({ code: "42P01" });
        expect(await idsOf(two)).toEqual(["two", "same"]);
        expect(await idsOf(none)).toEqual(["none", "same"]);
      });

      test(
        "a right that is missing is named, and the next try goes well when it is there",
        { timeout: 60_000 },
        async () => {
          const url = await makeDatabase("CREATE SCHEMA others");
          const grants: string[] = [];
          for (const schema of ["mine", "others", undefined]) {
            await using store = await openStore({ databaseUrl: addressOf(url), schema });
            const failure = await store.migrate().catch((error: unknown) => error);
            expect(failure).toMatchObject({ code: "failed_precondition" });
            const [, grant = ""] = / run ((?:CREATE|GRANT) .*?)(?:, or |; )/.exec(String(failure)) ?? [];
            grants.push(grant);
            await execute(withRole(url, "millrace"), grant);
            await store.migrate();
            expect(await store.getJob("a")).toBeUndefined();
          }
          expect(grants).toEqual([
            'CREATE SCHEMA "mine" AUTHORIZATION "plain"',
            'GRANT USAGE, CREATE ON SCHEMA "others" TO "plain"',
            'GRANT USAGE, CREATE ON SCHEMA "public" TO "plain"',
          ]);
        },
      );

      test("tables of somebody else are not migrated, and no lock stays behind", { timeout: 60_000 }, async () => {
        const url = await makeDatabase(`CREATE SCHEMA shared AUTHORIZATION ${plainRole}`);
        const databaseUrl = addressOf(url);
        await using owner = await openStore({ databaseUrl, schema: "shared" });
        await owner.migrate();
        await owner.migrate({ down: 1 });
        const superuser = withRole(url, "millrace");
        await execute(superuser, "ALTER TABLE shared.jobs OWNER TO millrace");
        const refused = owner.migrate();
        await expect(refused).rejects.toMatchObject({ code: "failed_precondition" });
        await expect(refused).rejects.toThrow(
          /must be owner of table jobs.* has to own the tables in the schema "shared"/,
        );
        const { rows } = await ask(superuser, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'");
        expect(rows).toEqual([]);
        await execute(superuser, `ALTER TABLE shared.jobs OWNER TO ${plainRole}`);
        await owner.migrate();
      });
    });
  }
});

/** Some of everything that is kept. */
async function fill(store: Store, id: string): Promise<void> {
  await addJob(store, id, 0);
  await store.flushFloors("jobs", ["JOBS_NORMAL"]);
  await store.identity.users.insert({
    id,
    email: "ada@example.org",
    displayName: "",
    roles: [Role.VIEWER],
    passwordHash: "h",
  });
  await store.settings.put({ name: "logLevel", value: id, updatedAtMs: 1 });
  await store.audit.append([
    {
      atMs: 1,
      id,
      userId: "",
      email: "",
      tokenId: "",
      address: "",
      door: "",
      action: "",
      object: "",
      result: "",
      requestId: "",
    },
  ]);
  await store.audit.markAnnounced(1);
  expect(await store.audit.prune(2, 3)).toBe(1);
  expect(await store.claimDueJobs({ limit: 1, leaseMs: 0 })).toEqual([]);
}

/** By both statements that write rows, the second of which calls a function of the schema. */
async function addJob(store: Store, id: string, after: number): Promise<void> {
  const failure = { attempt: 1, code: "X", message: "", retryable: false, atMs: 1 };
  const step = { name: "jobs", from: eventsAt(after * 2), to: eventsAt(after * 2 + 1) };
  const submission = { ...testSubmission(), owner: "ada" };
  await store.applyEvents([testPatch(id, JobState.RUNNING, { submission, submittedAtMs: after + 1 })], step);
  const ended = testPatch(id, JobState.SUCCEEDED, { failures: [failure], submittedAtMs: after + 1 });
  await store.applyEvents([ended], { name: "jobs", from: step.to, to: eventsAt(after * 2 + 2) });
}

/** Oldest first. */
async function idsOf(store: Store): Promise<string[]> {
  const { jobs } = await store.listJobs({}, { size: 10, token: "" });
  return jobs.map(({ id }) => id).toReversed();
}

async function tablesOf(url: string, schema: string): Promise<string[]> {
  const { rows } = await ask(url, `SELECT relname FROM pg_class WHERE relnamespace = '${schema}'::regnamespace`);
  return rows.map(({ relname }) => String(relname));
}

async function ask(url: string, statement: string): Promise<pg.QueryResult<Record<string, unknown>>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query(statement);
  } finally {
    await client.end();
  }
}
