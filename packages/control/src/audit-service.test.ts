import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { AuditEntrySchema, AuditRuntimeService, type VerifyAuditResponse } from "@millrace/protocol";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { auditEventName } from "./audit-announcer.ts";
import { LiveConfig, loadConfig, z } from "@millrace/service-kit";
import { controlSettings } from "./config.ts";
import { collect, startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

function append(...entries: MessageInitShape<typeof AuditEntrySchema>[]) {
  return createClient(AuditRuntimeService, fixture.transport).append({ entries });
}

/** The next event of the trail, as plugins hear of it. */
async function nextEvents(
  count: number,
  { bus } = fixture,
  filter = "events.app.audit.>",
): Promise<{ subject: string; event: unknown }[]> {
  const found: { subject: string; event: unknown }[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  await using reader = bus.readStream({
    stream: "EVENTS",
    filter,
    start: "first",
    onBatch: (messages) => {
      for (const { subject, data } of messages)
        found.push({ subject, event: JSON.parse(new TextDecoder().decode(data)) });
      if (found.length >= count) resolve();
    },
  });
  await Promise.race([promise, reader.done]);
  return found;
}

async function verify(request = {}): Promise<VerifyAuditResponse> {
  const answers = await collect(fixture.audit.verifyAudit(request));
  expect(answers.slice(0, -1).every(({ verdict }) => verdict === undefined)).toBe(true);
  return answers.at(-1)!;
}

it("keeps what a door has seen, finds it, tells plugins of it, and can prove it", async () => {
  const { audit } = fixture;
  expect((await verify()).verdict).toMatchObject({ intact: true, lastSeq: 0n });
  const at = timestampFromMs(1_700_000_000_123);
  const actor = { userId: "u1", email: "Ada@Example.org", tokenId: "t1" };
  const entry = { at, actor, door: "rest", action: "JobService/CancelJob", requestId: "r1", id: "e1" };
  expect(await append({ ...entry, object: "job-1", address: "::1" })).toMatchObject({ lastSeq: 1n });
  // As a gateway does that did not hear the answer.
  expect(
    await append(
      { ...entry, object: "job-1", address: "::1" },
      { id: "e2", action: "UserService/DeleteUser", object: "u2", result: "permission_denied" },
    ),
  ).toMatchObject({ lastSeq: 2n });

  const { entries } = await audit.listAuditEntries({});
  expect(entries.map(({ seq, result, actor: who }) => [seq, result, who?.userId])).toEqual([
    [2n, "permission_denied", "anonymous"],
    [1n, "ok", "u1"],
  ]);
  const [second, first] = entries;
  expect(first).toMatchObject({ actor: { email: "ada@example.org", tokenId: "t1" }, object: "job-1", address: "::1" });
  expect(timestampMs(first!.at!)).toBe(1_700_000_000_123);
  expect([first!.previousHash, second!.previousHash]).toEqual(["0".repeat(64), first!.hash]);
  const refused = await audit.listAuditEntries({ result: "refused", action: "UserService/" });
  expect(refused.entries.map(({ id }) => id)).toEqual(["e2"]);

  const { checked, total, verdict } = await verify();
  expect({ checked, total, verdict }).toMatchObject({
    checked: 2n,
    total: 2n,
    verdict: { intact: true, brokenSeq: 0n, lastSeq: 2n, lastHash: second!.hash },
  });

  const events = await nextEvents(2);
  expect(events.map(({ subject }) => subject)).toEqual([
    "events.app.audit.job_service.cancel_job",
    "events.app.audit.user_service.delete_user",
  ]);
  expect(events[1]?.event).toMatchObject({
    id: "audit-2",
    source: "audit",
    data: { seq: "2", result: "permission_denied", object: "u2", hash: second!.hash },
  });
});

it("tells what was done to users, and not what was refused", async () => {
  await append(
    { id: "u1", action: "UserService/CreateUser", object: "u9", result: "ok" },
    { id: "u2", action: "AuthService/Login", object: "eve@example.org", result: "unauthenticated" },
    { id: "u3", action: "AuthService/Login", object: "ada@example.org", result: "ok" },
  );
  const events = await nextEvents(2, fixture, "events.app.user.>");
  expect(events.map(({ event }) => event)).toMatchObject([
    { name: "user.created", source: "audit", data: { object: "u9" } },
    { name: "user.signed_in", source: "audit", data: { object: "ada@example.org" } },
  ]);
});

it("takes what a caller can make of names, and cuts what is too long", async () => {
  const object = `a\0b\ud800${"x".repeat(2000)}`;
  await append(create(AuditEntrySchema, { id: "odd", action: "S/M", object: object.toWellFormed(), requestId: "odd" }));
  const { entries } = await fixture.audit.listAuditEntries({ requestId: "odd" });
  expect(entries[0]?.object).toBe(`a\u{fffd}b\u{fffd}${"x".repeat(508)}`);
  expect((await verify()).verdict).toMatchObject({ intact: true });
});

it("answers whatever is asked for", async () => {
  const { audit } = fixture;
  const odd = "\0\u{1f600}%_'";
  for (const field of ["userId", "email", "tokenId", "address", "action", "object", "result", "requestId"]) {
    expect((await audit.listAuditEntries({ [field]: odd })).entries, field).toEqual([]);
  }
  for (const seconds of [-(2n ** 63n), 2n ** 63n - 1n]) {
    await expect(audit.listAuditEntries({ after: { seconds } })).rejects.toThrow("after: must be");
    await expect(audit.listAuditEntries({ before: { seconds } })).rejects.toThrow("before: must be");
  }
  expect((await audit.listAuditEntries({ after: { seconds: -62_135_596_800n } })).entries).not.toEqual([]);
  expect((await audit.listAuditEntries({ before: { seconds: -62_135_596_800n } })).entries).toEqual([]);
  await expect(audit.listAuditEntries({ pageToken: "\0" })).rejects.toThrow("page token");
});

it("compares with a hash that was written down elsewhere", async () => {
  const { entries } = await fixture.audit.listAuditEntries({ pageSize: 1 });
  const { seq: knownSeq, hash: knownHash } = entries[0]!;
  expect((await verify({ knownSeq, knownHash })).verdict?.intact).toBe(true);
  expect((await verify({ knownSeq, knownHash: "0".repeat(64) })).verdict).toMatchObject({
    intact: false,
    brokenSeq: knownSeq,
  });
  // The end was cut off, and its mark moved.
  expect((await verify({ knownSeq: knownSeq + 5n, knownHash })).verdict).toMatchObject({
    intact: false,
    brokenSeq: knownSeq + 1n,
  });
  await expect(verify({ knownHash })).rejects.toThrow("come together");
});

it("names an event for every action", () => {
  expect(auditEventName("OIDCService/GetV2Keys")).toBe("audit.oidcservice.get_v2_keys");
  fc.assert(fc.property(fc.string(), (action) => /^audit(\.[a-z0-9_-]+)*$/.test(auditEventName(action))));
});

it("prunes what was kept long enough, and proves what stays", async () => {
  const schema = z.object(controlSettings);
  const loaded = loadConfig(schema, { env: { MILLRACE_AUDIT_RETENTION_DAYS: "30" } });
  await using pruning = await startControlFixture({ auditPruneMs: 20 }, { live: new LiveConfig(schema, loaded) });
  const trail = createClient(AuditRuntimeService, pruning.transport);
  const entriesAt = (ageDays: number, count: number) =>
    Array.from({ length: count }, (_, index) => ({
      id: `${ageDays}-${index}`,
      action: "S/M",
      at: timestampFromMs(Date.now() - ageDays * 24 * 3_600_000),
    }));
  await trail.append({ entries: [...entriesAt(40, 3), ...entriesAt(29, 2)] });
  const list = async () => (await pruning.audit.listAuditEntries({})).entries;
  await expect.poll(async () => (await list()).map(({ seq }) => Number(seq)), { timeout: 20_000 }).toEqual([6, 5, 4]);
  const entries = await list();
  const [newest] = entries;
  const oldest = entries.at(-1)!;
  expect(newest).toMatchObject({ action: "AuditService/PruneEntries", object: `3:${oldest.previousHash}` });
  const check = async (request = {}) => (await collect(pruning.audit.verifyAudit(request))).at(-1)!;
  expect(await check()).toMatchObject({
    checked: 3n,
    total: 3n,
    verdict: { intact: true, lastSeq: 6n, prunedSeq: 3n, prunedHash: oldest.previousHash },
  });
  // A hash that was written down is compared with what stays, and with the last that is gone.
  expect((await check({ knownSeq: 3n, knownHash: oldest.previousHash })).verdict?.intact).toBe(true);
  expect((await check({ knownSeq: 3n, knownHash: oldest.hash })).verdict).toMatchObject({
    intact: false,
    brokenSeq: 3n,
  });
  await expect(check({ knownSeq: 2n, knownHash: oldest.hash })).rejects.toThrow("was pruned");
  // Plugins hear of it; and whoever cuts more off and moves the beginning is found out.
  expect((await nextEvents(6, pruning)).at(-1)?.subject).toBe("events.app.audit.audit_service.prune_entries");
  const head = await pruning.store.audit.head();
  const [cut] = await pruning.store.audit.read(head.pruned.seq, 1);
  const moved = { pruned_seq: cut!.seq, pruned_hash: Buffer.from(cut!.hash) };
  await pruning.store.db.updateTable("audit_head").set(moved).execute();
  expect((await check()).verdict).toMatchObject({ intact: false, brokenSeq: 4n });
});
