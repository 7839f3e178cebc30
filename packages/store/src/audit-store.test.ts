import { sql } from "kysely";
import { expect, test } from "vitest";
import {
  chainHash,
  chainStart,
  endChain,
  followChain,
  pruningAction,
  pruningObject,
  type AuditRecord,
} from "./audit-chain.ts";
import type { Store } from "./store.ts";
import { eachDatabase } from "./testing/each-database.ts";

function entry(id: string, more: Partial<AuditRecord> = {}): Omit<AuditRecord, "seq"> {
  return {
    atMs: 1_700_000_000_123,
    id,
    userId: "u1",
    email: "ada@example.org",
    tokenId: "",
    address: "127.0.0.1",
    door: "rest",
    action: "JobService/CancelJob",
    object: "job-1",
    result: "ok",
    requestId: "r1",
    ...more,
  };
}

async function check(store: Store): Promise<number | undefined> {
  const head = await store.audit.head();
  return endChain(followChain(head.pruned, await store.audit.read(0, 1000)), head).broken?.seq;
}

/** Does what only somebody may do who may do anything to the database, looks, and puts everything back. */
async function brokenAfter(store: Store, tampering: string): Promise<number | undefined> {
  const run = (statement: string) => sql.raw(statement).execute(store.db);
  await run("ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_stay");
  await run("CREATE TABLE kept AS SELECT * FROM audit_entries; CREATE TABLE kept_head AS SELECT * FROM audit_head");
  await run(tampering);
  const broken = await check(store);
  await run("DELETE FROM audit_entries; DELETE FROM audit_head");
  await run("INSERT INTO audit_entries SELECT * FROM kept; INSERT INTO audit_head SELECT * FROM kept_head");
  await run("DROP TABLE kept; DROP TABLE kept_head");
  return broken;
}

eachDatabase((openTestStore) => {
  test("entries are chained in their order, and a batch that is sent twice is kept once", async () => {
    await using store = await openTestStore();
    expect(await store.audit.head()).toEqual({
      seq: 0,
      hash: chainStart,
      announcedSeq: 0,
      pruned: { seq: 0, hash: chainStart },
      lastSeq: 0,
    });
    expect(await store.audit.append([entry("a"), entry("b", { object: '\u2028 é \\ "' })])).toBe(2);
    expect(await store.audit.append([entry("b"), entry("c"), entry("c")])).toBe(3);
    expect((await store.audit.read(0, 10)).map(({ seq, id }) => [seq, id])).toEqual([
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ]);
    expect(await check(store)).toBeUndefined();
  });

  test("batches that come at once stand one after the other", async () => {
    await using store = await openTestStore();
    const batches = Array.from({ length: 8 }, (_, batch) =>
      Array.from({ length: 5 }, (_, index) => entry(`${batch}-${index}`)),
    );
    await Promise.all(batches.map((batch) => store.audit.append(batch)));
    const ids = (await store.audit.read(0, 100)).map(({ id }) => id);
    expect(ids).toHaveLength(40);
    for (let at = 0; at < 40; at += 5) expect(new Set(ids.slice(at, at + 5).map((id) => id[0])).size).toBe(1);
    expect(await check(store)).toBeUndefined();
  });

  test("nothing is changed, deleted or emptied by a statement", async () => {
    await using store = await openTestStore();
    await store.audit.append([entry("a")]);
    for (const statement of [
      "UPDATE audit_entries SET object = ''",
      "DELETE FROM audit_entries",
      "TRUNCATE audit_entries",
    ]) {
      await expect(sql.raw(statement).execute(store.db)).rejects.toThrow("only appended");
    }
  });

  test("what is done behind its back shows at its entry", async () => {
    await using store = await openTestStore();
    await store.audit.append([entry("a"), entry("b", { result: "not_found" }), entry("c"), entry("d")]);
    const swap = [
      "UPDATE audit_entries SET seq = seq + 10 WHERE seq IN (2, 3)",
      "UPDATE audit_entries SET seq = 15 - seq WHERE seq > 10",
    ].join(";");
    for (const [statement, seq] of [
      ["UPDATE audit_entries SET result = 'ok' WHERE seq = 2", 2],
      ["UPDATE audit_entries SET at = at + interval '1 ms' WHERE seq = 3", 3],
      ["DELETE FROM audit_entries WHERE seq = 1", 1],
      ["DELETE FROM audit_entries WHERE seq = 4", 4],
      [swap, 2],
      ["UPDATE audit_head SET seq = 3", 4],
      ["SELECT 1", undefined],
    ] as const) {
      expect(await brokenAfter(store, statement), statement).toBe(seq);
    }
  });

  test("are found by what they say, newest first, page by page", async () => {
    await using store = await openTestStore();
    await store.audit.append([
      entry("a", { atMs: 1000 }),
      entry("b", { atMs: 2000, userId: "u2", result: "permission_denied" }),
      entry("c", { atMs: 3000, action: "JobService/RetryJob", tokenId: "t1" }),
      entry("d", { atMs: 4000, action: "UserService/CreateUser", object: "u3", address: "::1", requestId: "r4" }),
    ]);
    const found = async (filter: Parameters<typeof store.audit.list>[0]): Promise<string> =>
      (await store.audit.list(filter, { size: 0, token: "" })).records.map(({ id }) => id).join("");
    expect(await found({})).toBe("dcba");
    expect(await found({ userId: "u2" })).toBe("b");
    expect(await found({ email: "Ada@example.org", result: "refused" })).toBe("b");
    expect(await found({ action: "JobService/" })).toBe("cba");
    expect(await found({ action: "JobService/RetryJob", tokenId: "t1" })).toBe("c");
    expect(await found({ object: "u3", address: "::1", requestId: "r4" })).toBe("d");
    expect(await found({ afterMs: 2000, beforeMs: 4000 })).toBe("cb");
    const first = await store.audit.list({}, { size: 3, token: "" });
    expect(first.records[2]?.previous).toEqual((await store.audit.read(0, 1))[0]?.hash);
    const second = await store.audit.list({}, { size: 3, token: first.nextPageToken });
    expect(second.records.map(({ id, previous }) => [id, previous])).toEqual([["a", chainStart]]);
    expect(second.nextPageToken).toBe("");
    await expect(store.audit.list({}, { size: 3, token: "x" })).rejects.toMatchObject({ code: "invalid_argument" });
  });

  test("what was told as events is remembered, and never taken back", async () => {
    await using store = await openTestStore();
    await store.audit.append([entry("a"), entry("b")]);
    await store.audit.markAnnounced(2);
    await store.audit.markAnnounced(1);
    expect((await store.audit.head()).announcedSeq).toBe(2);
  });

  test("the oldest entries are pruned, and what stays is still a chain that says so", async () => {
    await using store = await openTestStore();
    const { audit } = store;
    await audit.append([1000, 2000, 3000, 2500, 9000].map((atMs, index) => entry(`e${index + 1}`, { atMs })));
    // Not yet told as events: nothing goes.
    expect(await audit.prune(5000, 10_000)).toBe(0);
    await audit.markAnnounced(5);
    expect(await audit.prune(500, 10_000)).toBe(0);
    // Up to the first that is not older, though a later one is.
    const third = (await audit.read(2, 1))[0]!;
    expect(await audit.prune(2800, 10_000)).toBe(2);
    expect(await audit.prune(2800, 10_000)).toBe(0);
    expect((await audit.read(0, 10)).map(({ seq }) => seq)).toEqual([3, 4, 5, 6]);
    const { pruned } = await audit.head();
    expect(pruned.seq).toBe(2);
    expect(chainHash(pruned.hash, third)).toEqual(third.hash);
    const { records } = await audit.list({}, { size: 0, token: "" });
    expect(records[0]).toMatchObject({
      seq: 6,
      action: pruningAction,
      object: pruningObject(pruned),
      userId: "system",
    });
    expect(records[3]?.previous).toEqual(pruned.hash);
    expect(await check(store)).toBeUndefined();
    // Again, and everything at last: the entries that tell of pruning are pruned like others.
    await audit.markAnnounced(6);
    expect(await audit.prune(100_000, 100_000)).toBe(4);
    expect((await audit.read(0, 10)).map(({ seq }) => seq)).toEqual([7]);
    expect(await audit.append([entry("next")])).toBe(8);
    expect(await check(store)).toBeUndefined();
    expect(await brokenAfter(store, "DELETE FROM audit_entries WHERE seq = 7")).toBe(7);
  });

  test("what was tampered with is not pruned, and a statement of one's own still does not pass", async () => {
    await using store = await openTestStore();
    await store.audit.append([entry("a"), entry("b"), entry("c")]);
    await store.audit.markAnnounced(3);
    await sql.raw("ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_stay").execute(store.db);
    await sql.raw("UPDATE audit_entries SET object = 'x' WHERE seq = 2").execute(store.db);
    await sql.raw("ALTER TABLE audit_entries ENABLE TRIGGER audit_entries_stay").execute(store.db);
    const pruning = store.audit.prune(Date.now(), Date.now());
    await expect(pruning).rejects.toMatchObject({ code: "data_loss" });
    expect(await store.audit.read(0, 10)).toHaveLength(3);
    await expect(sql.raw("DELETE FROM audit_entries").execute(store.db)).rejects.toThrow("only appended");
  });

  test("many entries go in stretches", async () => {
    await using store = await openTestStore();
    for (let from = 0; from < 6000; from += 1000) {
      await store.audit.append(Array.from({ length: 1000 }, (_, index) => entry(`${from + index}`)));
    }
    await store.audit.markAnnounced(6000);
    const nowMs = Date.now();
    expect([await store.audit.prune(nowMs, nowMs), await store.audit.prune(nowMs, nowMs)]).toEqual([5000, 1000]);
    expect(await store.audit.prune(nowMs, nowMs)).toBe(0);
    expect(await check(store)).toBeUndefined();
  });
});
