import { createHash, randomUUID } from "node:crypto";
import { Role } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { Store } from "../store.ts";
import { eachDatabase } from "../testing/each-database.ts";

const hash = (text: string): Uint8Array => createHash("sha256").update(text).digest();

function addUser(store: Store, email: string, roles: Role[] = [Role.VIEWER]) {
  return store.identity.users.insert({ id: randomUUID(), email, displayName: "", roles, passwordHash: "h" });
}

function openSession(store: Store, userId: string, refresh: string) {
  const plain = { address: "10.0.0.1", userAgent: "test", idleMs: 60_000, longestMs: 3_600_000 };
  return store.identity.sessions.open({ ...plain, id: randomUUID(), userId, refreshHash: hash(refresh) });
}

const allow = (): void => undefined;

eachDatabase((openTestStore) => {
  test("an email is one whatever its case, and stays taken while a deleted user is kept", async () => {
    await using store = await openTestStore();
    const { users } = store.identity;
    expect(await users.isEmpty()).toBe(true);
    await addUser(store, "root@example.com", [Role.ADMINISTRATOR]);
    const ada = await addUser(store, "Ada@Example.com");
    expect(ada.email).toBe("Ada@Example.com");
    await expect(addUser(store, "ada@example.COM")).rejects.toMatchObject({ code: "already_exists" });
    expect((await users.findByEmail("ADA@example.com"))?.user.id).toBe(ada.id);
    await users.delete(ada.id, false, allow);
    expect((await users.get(ada.id))?.user.deletedAt).toBeDefined();
    await expect(addUser(store, "ada@example.com")).rejects.toMatchObject({ code: "already_exists" });
    await users.delete(ada.id, false, allow);
    expect(await users.get(ada.id)).toBeUndefined();
    await addUser(store, "ada@example.com");
  });

  test("users are listed page by page, in each order, without gap or repetition", async () => {
    await using store = await openTestStore();
    const { users } = store.identity;
    for (let n = 0; n < 7; n++) await addUser(store, `user${n}@example.com`, [n % 2 ? Role.VIEWER : Role.OPERATOR]);
    const all = { role: Role.UNSPECIFIED, search: "", includeDeleted: false, resetAsked: false };
    for (const order of ["email", "-email", "created_at", "-created_at", "last_login_at", "-last_login_at", ""]) {
      const seen: string[] = [];
      let token = "";
      do {
        const page = await users.list(all, order, { size: 3, token });
        seen.push(...page.users.map((user) => user.email));
        token = page.nextPageToken;
      } while (token !== "");
      expect(new Set(seen).size, order).toBe(7);
      if (order === "-email") expect(seen).toEqual(seen.toSorted().toReversed());
      const forged = Buffer.from(JSON.stringify([order, "2026-02-31", "x"])).toString("base64url");
      const answer = users.list(all, order, { size: 3, token: forged });
      if (order.endsWith("email")) await answer;
      else await expect(answer, order).rejects.toMatchObject({ code: "invalid_argument" });
    }
    expect((await users.list({ ...all, role: Role.OPERATOR }, "", { size: 0, token: "" })).users).toHaveLength(4);
    expect((await users.list({ ...all, search: "USER3" }, "", { size: 0, token: "" })).users).toHaveLength(1);
    await expect(users.list(all, "password_hash", { size: 1, token: "" })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    const { nextPageToken } = await users.list(all, "email", { size: 3, token: "" });
    await expect(users.list(all, "-email", { size: 3, token: nextPageToken })).rejects.toMatchObject({
      code: "invalid_argument",
    });
  });

  test("a refresh token is used once; a second use ends the session", async () => {
    await using store = await openTestStore();
    const { sessions, revocations } = store.identity;
    const user = await addUser(store, "a@example.com");
    const session = await openSession(store, user.id, "r1");
    const other = await openSession(store, user.id, "other");
    expect(await sessions.rotate(hash("r1"), hash("r2"), 60_000)).toMatchObject({
      outcome: "rotated",
      session: { id: session.id, userId: user.id },
    });
    expect(await sessions.rotate(hash("nothing"), hash("r3"), 60_000)).toEqual({ outcome: "unknown" });
    expect(await sessions.rotate(hash("r1"), hash("r3"), 60_000)).toMatchObject({ outcome: "reused" });
    expect(await sessions.rotate(hash("r2"), hash("r3"), 60_000)).toEqual({ outcome: "unknown" });
    expect((await sessions.list(user.id)).map((one) => one.id)).toEqual([other.id]);
    expect(await revocations.listRecent(60_000)).toMatchObject([{ kind: "session", subject: session.id }]);
  });

  test("a session that is refreshed in a loop has to wait, and a second use still ends it", async () => {
    await using store = await openTestStore();
    const { sessions } = store.identity;
    const user = await addUser(store, "a@example.com");
    await openSession(store, user.id, "r0");
    for (let n = 0; n < 120; n++) {
      expect((await sessions.rotate(hash(`r${n}`), hash(`r${n + 1}`), 60_000)).outcome).toBe("rotated");
    }
    for (let n = 0; n < 2; n++) {
      expect(await sessions.rotate(hash("r120"), hash("next"), 60_000)).toEqual({ outcome: "too many" });
    }
    expect(await sessions.list(user.id)).toHaveLength(1);
    expect(await sessions.rotate(hash("r0"), hash("next"), 60_000)).toMatchObject({ outcome: "reused" });
    expect(await sessions.list(user.id)).toEqual([]);
  });

  test("of two uses at the same time one wins, and the session ends", async () => {
    await using store = await openTestStore();
    const user = await addUser(store, "a@example.com");
    await openSession(store, user.id, "r1");
    const outcomes = await Promise.all(
      ["x", "y"].map((next) => store.identity.sessions.rotate(hash("r1"), hash(next), 60_000)),
    );
    expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual(["reused", "rotated"]);
    expect(await store.identity.sessions.list(user.id)).toEqual([]);
  });

  test("a change of roles voids what was issued before it, and the last administrator stays", async () => {
    await using store = await openTestStore();
    const { users, revocations } = store.identity;
    const root = await addUser(store, "root@example.com", [Role.ADMINISTRATOR]);
    const user = await addUser(store, "a@example.com", [Role.OPERATOR]);
    const before = await users.readGrant(user.id);
    await users.change(user.id, { roles: [Role.VIEWER] }, allow);
    const after = await users.readGrant(user.id);
    const [revoked] = await revocations.listRecent(60_000);
    expect(before?.readAtMs).toBeLessThan(revoked?.atMs ?? 0);
    expect(after?.user.roles).toEqual([Role.VIEWER]);
    for (const changes of [{ roles: [Role.VIEWER] }, { disabled: true }]) {
      await expect(users.change(root.id, changes, allow)).rejects.toMatchObject({ code: "failed_precondition" });
    }
    await expect(users.delete(root.id, true, allow)).rejects.toMatchObject({ code: "failed_precondition" });
    await users.change(root.id, { displayName: "Root" }, allow);
    expect((await users.firstAdministrator())?.displayName).toBe("Root");
  });

  test("two administrators cannot demote one another at the same time", async () => {
    await using store = await openTestStore();
    const { users } = store.identity;
    const one = await addUser(store, "one@example.com", [Role.ADMINISTRATOR]);
    const two = await addUser(store, "two@example.com", [Role.ADMINISTRATOR]);
    const results = await Promise.allSettled([one, two].map(({ id }) => users.change(id, { roles: [] }, allow)));
    expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(await users.firstAdministrator()).toBeDefined();
  });

  test("an API token is found by its hash until it is revoked, or its user goes", async () => {
    await using store = await openTestStore();
    const { apiTokens, users } = store.identity;
    const user = await addUser(store, "a@example.com");
    await addUser(store, "root@example.com", [Role.ADMINISTRATOR]);
    const plain = { userId: user.id, hint: "mr_abc", scopes: ["read"], queues: ["q"], types: [] };
    const add = (name: string, expiresAtMs: number) =>
      apiTokens.insert({ ...plain, id: randomUUID(), name, secretHash: hash(name), expiresAtMs });
    const token = await add("a", Date.now() + 60_000);
    await add("b", Date.now() + 60_000);
    await add("old", Date.now() - 1);
    expect((await apiTokens.find(hash("a")))?.token.queues).toEqual(["q"]);
    expect((await apiTokens.list(user.id)).map(({ name }) => name)).toEqual(["a", "b"]);
    expect((await apiTokens.list(user.id))[0]?.lastUsedAt).toBeDefined();
    expect(await apiTokens.find(hash("old"))).toBeUndefined();
    expect(await apiTokens.revoke("somebody", { id: token.id })).toBe(false);
    expect(await apiTokens.revoke(user.id, { id: token.id })).toBe(true);
    expect(await apiTokens.find(hash("a"))).toBeUndefined();
    await users.change(user.id, { disabled: true }, allow);
    expect(await apiTokens.find(hash("b"))).toBeUndefined();
    await users.delete(user.id, false, allow);
    expect(await apiTokens.list(user.id)).toEqual([]);
  });

  test("tokens that may be used are read with their owners: all, the new ones, or those of some users", async () => {
    await using store = await openTestStore();
    const { apiTokens, users } = store.identity;
    const [ada, bob] = [await addUser(store, "ada@example.com"), await addUser(store, "bob@example.com")];
    const plain = { hint: "mr_1", scopes: ["read"], queues: [], types: [] };
    const add = (name: string, { id: userId }: { id: string }, expiresAtMs = Date.now() + 60_000) =>
      apiTokens.insert({ ...plain, id: randomUUID(), name, userId, secretHash: hash(name), expiresAtMs });
    await add("first", ada);
    await add("expired", ada, Date.now() - 1);
    await add("second", bob);
    const read = async (which: Parameters<typeof apiTokens.listHeld>[0], limit = 10) =>
      (await apiTokens.listHeld(which, limit)).map(({ token, user }) => `${token.name} of ${user.email}`);
    expect(await read("all")).toEqual(["second of bob@example.com", "first of ada@example.com"]);
    expect(await read("all", 1)).toEqual(["second of bob@example.com"]);
    expect(await read({ userIds: [ada.id] })).toEqual(["first of ada@example.com"]);
    expect(await read({ userIds: [] })).toEqual([]);
    expect(await read({ madeWithinMs: 60_000 })).toHaveLength(2);
    expect(await read({ madeWithinMs: -1 })).toEqual([]);
    expect((await apiTokens.listHeld("all", 1))[0]?.secretHash).toEqual(Buffer.from(hash("second")));
    await users.change(bob.id, { disabled: true }, allow);
    expect(await read("all")).toEqual(["first of ada@example.com"]);
    // Those who keep tokens in memory hear of one that may be used again.
    const revoked = async () => (await store.identity.revocations.listRecent(60_000)).length;
    const before = await revoked();
    await users.change(bob.id, { disabled: false }, allow);
    expect(await revoked()).toBe(before + 1);
  });

  test("who asks for a new password is listed until it is set", async () => {
    await using store = await openTestStore();
    const { users } = store.identity;
    const ada = await addUser(store, "ada@example.com");
    await addUser(store, "bob@example.com");
    const asking = { role: Role.UNSPECIFIED, search: "", includeDeleted: false, resetAsked: true };
    const list = async () => (await users.list(asking, "", { size: 0, token: "" })).users;
    await users.noteResetAsked("ADA@example.com");
    const [first] = await list();
    expect(first).toMatchObject({ id: ada.id });
    await users.noteResetAsked("ada@example.com");
    await users.noteResetAsked("nobody@example.com");
    expect(await list()).toEqual([first]);
    await users.setPassword(ada.id, { hash: "other", expired: false });
    expect(await list()).toEqual([]);
  });

  test("members are counted until they leave or fall silent", async () => {
    await using store = await openTestStore();
    const { members } = store.identity;
    expect(await members.beat("a", 60_000)).toBe(1);
    expect(await members.beat("b", 60_000)).toBe(2);
    expect(await members.beat("a", 60_000)).toBe(2);
    await members.leave("b");
    expect(await members.beat("a", 60_000)).toBe(1);
    await members.beat("c", 60_000);
    expect(await members.beat("a", -60_000)).toBe(1);
  });

  test("failed logins wait longer and longer, tries at the same time count, and success forgets", async () => {
    await using store = await openTestStore();
    const { loginFailures } = store.identity;
    const policy = { free: 3, firstMs: 60_000, longestMs: 100_000 };
    const tries = await Promise.all(Array.from({ length: 10 }, () => loginFailures.begin("a", policy)));
    expect(tries.filter((wait) => wait === 0)).toHaveLength(4);
    expect(Math.max(...tries)).toBeGreaterThan(50_000);
    expect(await loginFailures.begin("b", policy)).toBe(0);
    await loginFailures.forgive("a");
    expect(await loginFailures.begin("a", policy)).toBe(0);
    expect(await loginFailures.begin("a", policy)).toBeGreaterThan(50_000);
    await loginFailures.clear("a");
    expect(await loginFailures.begin("a", policy)).toBe(0);
  });

  test("codes and OIDC logins are taken once, by whom they are for", async () => {
    await using store = await openTestStore();
    const { codes, oidcLogins } = store.identity;
    const expiresAtMs = Date.now() + 60_000;
    await codes.insert({ hash: hash("i"), email: "A@b.c", roles: [Role.VIEWER], expiresAtMs, createdBy: "u" });
    expect(await codes.takeReset(hash("i"))).toBeUndefined();
    expect(await codes.takeInvitation(hash("i"), "x@b.c")).toBeUndefined();
    expect(await codes.takeInvitation(hash("i"), "a@B.c")).toEqual({
      userId: undefined,
      roles: [Role.VIEWER],
      namesEmail: true,
    });
    expect(await codes.takeInvitation(hash("i"), "a@b.c")).toBeUndefined();
    const login = { nonce: "n", codeVerifier: "v", redirectUri: "http://x", browserHash: hash("b") };
    await oidcLogins.insert(hash("s"), login, 60_000);
    expect(await oidcLogins.take(hash("s"))).toMatchObject({ nonce: "n", codeVerifier: "v" });
    expect(await oidcLogins.take(hash("s"))).toBeUndefined();
  });

  test("signing keys come newest first, and a sweep leaves what holds", async () => {
    await using store = await openTestStore();
    const { signingKeys } = store.identity;
    await signingKeys.insert({ kid: "k1", privateJwk: { kty: "OKP" }, createdAtMs: 1_000 });
    await signingKeys.insert({ kid: "k2", privateJwk: { kty: "OKP" }, createdAtMs: 2_000 });
    await store.identity.sweep();
    expect((await signingKeys.list()).map(({ kid }) => kid)).toEqual(["k2", "k1"]);
    expect((await signingKeys.list())[0]?.privateJwk).toEqual({ kty: "OKP" });
    await signingKeys.delete("k1");
    expect(await signingKeys.list()).toHaveLength(1);
  });
});
