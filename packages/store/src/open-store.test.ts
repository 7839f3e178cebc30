import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JobState } from "@millrace/protocol";
import { sql } from "kysely";
import { describe, expect, test } from "vitest";
import { openStore } from "./open-store.ts";
import { findPostgresBinaries, startTestPostgres } from "./testing/each-database.ts";
import { testPatch } from "./testing/job-patch.ts";
import { eventsAt } from "./testing/log-cursors.ts";

const binaries = findPostgresBinaries();

test("PGlite keeps its data from one opening to the next, and one process at a time", { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-store-"));
  const dataDir = join(folder, "data");
  try {
    {
      await using store = await openStore({ dataDir });
      await store.migrate();
      const step = { name: "jobs", from: eventsAt(0), to: eventsAt(1) };
      await store.applyEvents([testPatch("a", JobState.QUEUED)], step);
      await expect(openStore({ dataDir })).rejects.toMatchObject({ code: "failed_precondition" });
    }
    await using again = await openStore({ dataDir });
    await again.migrate();
    expect((await again.getJob("a"))?.job.state).toBe(JobState.QUEUED);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("PGlite does not hold the event loop", { timeout: 60_000 }, async () => {
  await using store = await openStore({ dataDir: "memory://" });
  await store.ping();
  let turns = 0;
  const timer = setInterval(() => turns++, 5);
  await store.migrate();
  clearInterval(timer);
  expect(turns).toBeGreaterThan(2);
});

test("callers that come at once are all answered", { timeout: 60_000 }, async () => {
  await using store = await openStore({ dataDir: "memory://" });
  await store.migrate();
  const found = await Promise.all(Array.from({ length: 50 }, (_, i) => store.getJob(`j${i}`)));
  expect(found.every((job) => job === undefined)).toBe(true);
});

describe.skipIf(binaries === undefined)("PostgreSQL goes away", () => {
  test("a store closes while it hangs, and leaves nothing open", { timeout: 60_000 }, async () => {
    await using server = await startTestPostgres(binaries ?? "");
    const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length;
    const before = sockets();
    const store = await openStore({ databaseUrl: server.url });
    await store.migrate();
    await Promise.all([store.ping(), store.ping(), store.ping()]);
    const asked = expect(sql`SELECT pg_sleep(60)`.execute(store.db)).rejects.toThrow(/terminated/);
    const running = sql<{ n: number }>`SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%sleep(60)'`;
    await expect.poll(async () => (await running.execute(store.db)).rows[0]?.n).toBe(1);
    server.freeze();
    const startedAt = performance.now();
    await store[Symbol.asyncDispose]();
    expect(performance.now() - startedAt).toBeLessThan(2000 + 1500);
    await asked;
    await expect.poll(sockets).toBe(before);
  });

  test("callers hear unavailable, and are served when it is back", { timeout: 60_000 }, async () => {
    await using server = await startTestPostgres(binaries ?? "");
    await using store = await openStore({ databaseUrl: server.url });
    await store.migrate();
    await Promise.all([store.ping(), store.ping(), store.ping()]);
    await server.stop();
    await expect(store.getJob("a")).rejects.toMatchObject({ code: "unavailable" });
    await expect(store.ping()).rejects.toMatchObject({ code: "unavailable" });
    await server.start();
    await store.ping();
    // A connection that breaks between two statements of a transaction.
    const broken = store.db.transaction().execute(async (transaction) => {
      await sql`SELECT 1`.execute(transaction);
      await server.stop();
      await sql`SELECT 1`.execute(transaction);
    });
    await expect(broken).rejects.toThrow();
    await server.start();
    await store.ping();
    expect(await store.getJob("a")).toBeUndefined();
  });
});
