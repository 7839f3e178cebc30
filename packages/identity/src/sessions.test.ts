import { Code, type ConnectError } from "@connectrpc/connect";
import { Role } from "@millrace/protocol";
import { csrfTokenOf } from "@millrace/rpc";
import { decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addUser, callAs, startIdentityFixture, strongPassword, type IdentityFixture } from "./identity-fixture.ts";

let fixture: IdentityFixture;
beforeAll(async () => {
  fixture = await startIdentityFixture();
  await addUser(fixture, "root@example.com", [Role.ADMINISTRATOR]);
});
afterAll(() => fixture[Symbol.asyncDispose]());

async function login(email: string, password = strongPassword, address = "192.0.2.1") {
  const answer = await fixture.auth.login({ email, password }, callAs({ address }, { "user-agent": "test" }));
  return {
    ...answer,
    access: answer.tokens?.accessToken ?? "",
    refresh: answer.tokens?.refreshToken ?? "",
  };
}

const unauthenticated = { code: Code.Unauthenticated };

test("an access token is signed with a pinned algorithm, names its key, and says what its user may do", async () => {
  const id = await addUser(fixture, "ada@example.com", [Role.OPERATOR]);
  const { access, user, tokens } = await login("ADA@example.com");
  const { alg, kid } = decodeProtectedHeader(access);
  expect(alg).toBe("EdDSA");
  expect(kid).toMatch(/^[\w-]{43}$/);
  const claims = await fixture.claims(access);
  expect(claims).toMatchObject({ iss: "millrace", aud: "millrace", sub: id, email: "ada@example.com" });
  expect(claims["roles"]).toEqual([Role.OPERATOR]);
  expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBeLessThanOrEqual(900);
  expect(user?.lastLoginAt).toBeDefined();
  expect(tokens?.refreshToken).toMatch(/^[\w-]{43}$/);
  const jwks = (await fixture.runtime.getKeys({})).jwks;
  expect(jwks).not.toContain('"d"');
});

test("unknown, wrong, disabled and deleted are refused in the same words, after the same work", async () => {
  const disabled = await addUser(fixture, "disabled@example.com", []);
  const deleted = await addUser(fixture, "deleted@example.com", []);
  await addUser(fixture, "known@example.com", []);
  await fixture.store.identity.users.change(disabled, { disabled: true }, () => undefined);
  await fixture.store.identity.users.delete(deleted, false, () => undefined);
  const tries: [email: string, password: string][] = [
    ["nobody@example.com", strongPassword],
    ["known@example.com", "wrong password"],
    ["disabled@example.com", strongPassword],
    ["deleted@example.com", strongPassword],
  ];
  const errors: ConnectError[] = [];
  for (const [email, password] of tries) {
    errors.push((await login(email, password, "192.0.2.9").catch((error: ConnectError) => error)) as ConnectError);
  }
  expect(new Set(errors.map(({ code, message }) => `${code} ${message}`))).toEqual(
    new Set([`${Code.Unauthenticated} [unauthenticated] email or password is wrong`]),
  );
});

test("failures of one account make it wait, from any address and whether it exists or not", async () => {
  await addUser(fixture, "target@example.com", []);
  for (const email of ["target@example.com", "missing@example.com"]) {
    const errors: ConnectError[] = [];
    for (let n = 0; n < 7; n++) {
      errors.push((await login(email, "wrong password", `198.51.100.${n}`).catch((error) => error)) as ConnectError);
    }
    expect(errors.map(({ code }) => code)).toEqual([...Array.from({ length: 6 }, () => 16), Code.ResourceExhausted]);
    expect(errors.at(-1)?.metadata.get("retry-after")).toBe("1");
    // The right password has to wait too: it must not tell that it is right.
    if (email === "target@example.com") {
      await expect(login(email)).rejects.toMatchObject({ code: Code.ResourceExhausted });
    }
  }
});

test("a refresh token is used once; a replay ends the session and the session's access tokens are named", async () => {
  const user = await addUser(fixture, "r@example.com", [Role.VIEWER]);
  const { refresh, access } = await login("r@example.com");
  const next = await fixture.auth.refresh({ refreshToken: refresh }, callAs({}));
  await expect(fixture.auth.refresh({ refreshToken: refresh }, callAs({}))).rejects.toMatchObject(unauthenticated);
  const newest = next.tokens?.refreshToken ?? "";
  await expect(fixture.auth.refresh({ refreshToken: newest }, callAs({}))).rejects.toMatchObject(unauthenticated);
  for (const refreshToken of ["", "x", newest.replace(/.$/, "")]) {
    await expect(fixture.auth.refresh({ refreshToken }, callAs({}))).rejects.toMatchObject(unauthenticated);
  }
  const sid = (await fixture.claims(access))["sid"];
  const recent = await fixture.store.identity.revocations.listRecent(60_000);
  expect(recent).toContainEqual(expect.objectContaining({ kind: "session", subject: sid }));
  expect(await fixture.store.identity.sessions.list(user)).toEqual([]);
});

test("a browser's tokens are in cookies that scripts cannot read, with the CSRF token that belongs to them", async () => {
  await addUser(fixture, "b@example.com", []);
  const seen: Headers[] = [];
  const onHeader = (headers: Headers): void => void seen.push(headers);
  const cookieOf = (headers: Headers | undefined, name: string): string => {
    const line = headers?.getSetCookie().find((one) => one.startsWith(`${name}=`)) ?? "";
    expect(line).toMatch(/; Path=\/; Max-Age=\d+; HttpOnly; SameSite=(Lax|Strict)$/);
    return line.slice(name.length + 1, line.indexOf(";"));
  };
  const answer = await fixture.auth.login(
    { email: "b@example.com", password: strongPassword, cookie: true },
    { ...callAs({}), onHeader },
  );
  expect(answer.tokens).toBeUndefined();
  const access = cookieOf(seen[0], "mr_session");
  expect(answer.csrfToken).toBe(csrfTokenOf(access));
  const refresh = cookieOf(seen[0], "mr_refresh");
  const tampered = callAs({}, { cookie: `mr_refresh=${refresh.slice(0, -2)}xx` });
  await expect(fixture.auth.refresh({}, tampered)).rejects.toMatchObject(unauthenticated);
  const again = await fixture.auth.refresh({}, { ...callAs({}, { cookie: `a=b; mr_refresh=${refresh}` }), onHeader });
  expect(again.tokens).toBeUndefined();
  expect(again.csrfToken).toBe(csrfTokenOf(cookieOf(seen[1], "mr_session")));
  await fixture.auth.logout({}, { ...(await fixture.bearer(access)), onHeader });
  expect(cookieOf(seen[2], "mr_session")).toBe("");
  const gone = callAs({}, { cookie: `mr_refresh=${cookieOf(seen[1], "mr_refresh")}` });
  await expect(fixture.auth.refresh({}, gone)).rejects.toMatchObject(unauthenticated);
});

test("tabs of a browser that come with one cookie at once lose neither the session nor each other's cookies", async () => {
  await addUser(fixture, "tabs@example.com", []);
  const seen: Headers[] = [];
  const onHeader = (headers: Headers): void => void seen.push(headers);
  const cookieIn = (headers: Headers | undefined): string =>
    headers
      ?.getSetCookie()
      .find((one) => one.startsWith("mr_refresh="))
      ?.split(";")[0] ?? "";
  await fixture.auth.login(
    { email: "tabs@example.com", password: strongPassword, cookie: true },
    { ...callAs({}), onHeader },
  );
  const cookie = cookieIn(seen[0]);
  const tabs = await Promise.allSettled(
    Array.from({ length: 3 }, () => fixture.auth.refresh({}, { ...callAs({}, { cookie }), onHeader })),
  );
  expect(tabs.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected", "rejected"]);
  for (const tab of tabs) if (tab.status === "rejected") expect(tab.reason).toMatchObject({ code: Code.Aborted });
  expect(seen.slice(1).filter((headers) => cookieIn(headers) !== "")).toHaveLength(1);
  const next = cookieIn(seen.find((headers) => headers !== seen[0] && cookieIn(headers) !== ""));
  await fixture.auth.refresh({}, callAs({}, { cookie: next }));
  // Out of a browser's cookie jar it is a replay like any other.
  const refreshToken = cookie.slice("mr_refresh=".length);
  await expect(fixture.auth.refresh({ refreshToken }, callAs({}))).rejects.toMatchObject(unauthenticated);
  await expect(fixture.auth.refresh({}, callAs({}, { cookie: next }))).rejects.toMatchObject(unauthenticated);
});

test("over TLS a cookie that is not tied to this host does not count", async () => {
  await using secure = await startIdentityFixture({ secureCookies: true }, fixture.store);
  await addUser(fixture, "tls@example.com", []);
  const { refresh } = await login("tls@example.com");
  // A neighbouring host can set this one, and so sign somebody in as somebody else.
  const planted = callAs({}, { cookie: `mr_refresh=${refresh}` });
  await expect(secure.auth.refresh({}, planted)).rejects.toMatchObject(unauthenticated);
  const answer = await secure.auth.refresh({}, callAs({}, { cookie: `__Host-mr_refresh=${refresh}` }));
  expect(answer.csrfToken).not.toBe("");
});

test("whoever is signed in from an address gets in from there, however often others fail elsewhere", async () => {
  const email = "wanted@example.com";
  await addUser(fixture, email, []);
  const { access } = await login(email, strongPassword, "192.0.2.77");
  for (let n = 0; n < 6; n++) {
    await expect(login(email, "wrong password", `198.51.100.${n}`)).rejects.toMatchObject(unauthenticated);
  }
  await expect(login(email, strongPassword, "198.51.100.99")).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await login(email, strongPassword, "192.0.2.77");
  const me = await fixture.bearer(access);
  await fixture.auth.changePassword({ currentPassword: strongPassword, newPassword: "another password" }, me);
  // That others have to wait is not forgotten for it.
  await expect(login(email, "another password", "198.51.100.99")).rejects.toMatchObject({
    code: Code.ResourceExhausted,
  });
});

test("sessions are listed and revoked by their owner only", async () => {
  await addUser(fixture, "s@example.com", []);
  await addUser(fixture, "other@example.com", []);
  const mine = await login("s@example.com");
  const phone = await login("s@example.com");
  const other = await login("other@example.com");
  const me = await fixture.bearer(mine.access);
  const { sessions } = await fixture.auth.listSessions({}, me);
  expect(sessions).toHaveLength(2);
  expect(sessions.find(({ current }) => current)).toMatchObject({ address: "192.0.2.1", userAgent: "test" });
  const phoneId = sessions.find(({ current }) => !current)?.id ?? "";
  const stranger = await fixture.bearer(other.access);
  await expect(fixture.auth.revokeSession({ id: phoneId }, stranger)).rejects.toMatchObject({ code: Code.NotFound });
  await fixture.auth.revokeSession({ id: phoneId }, me);
  await expect(fixture.auth.refresh({ refreshToken: phone.refresh }, callAs({}))).rejects.toMatchObject(
    unauthenticated,
  );
  await fixture.auth.logout({ everywhere: true }, me);
  await expect(fixture.auth.refresh({ refreshToken: mine.refresh }, callAs({}))).rejects.toMatchObject(unauthenticated);
  await expect(fixture.auth.listSessions({}, callAs({}))).rejects.toMatchObject(unauthenticated);
  await expect(fixture.auth.listSessions({})).rejects.toMatchObject(unauthenticated);
});

test("a password is changed by who knows it, and the other sessions end", async () => {
  const id = await addUser(fixture, "p@example.com", []);
  const here = await login("p@example.com");
  const there = await login("p@example.com");
  const me = await fixture.bearer(here.access);
  const change = (currentPassword: string, newPassword: string) =>
    fixture.auth.changePassword({ currentPassword, newPassword }, me);
  await expect(change("wrong password", "another password")).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await expect(change(strongPassword, "p@example.com")).rejects.toMatchObject({ code: Code.InvalidArgument });
  await expect(change(strongPassword, strongPassword)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await change(strongPassword, "another password");
  await expect(fixture.auth.refresh({ refreshToken: there.refresh }, callAs({}))).rejects.toMatchObject(
    unauthenticated,
  );
  await fixture.auth.refresh({ refreshToken: here.refresh }, callAs({}));
  await expect(login("p@example.com")).rejects.toMatchObject(unauthenticated);
  expect((await login("p@example.com", "another password")).user?.id).toBe(id);
});

test("a session with a password that somebody else knows may do nothing but change it", async () => {
  const all = callAs({
    subject: "x",
    permissions: ["users:manage", "jobs:read", "queues:read", "plugins:read", "system:read"],
  });
  const { password } = await fixture.users.createUser({ email: "new@example.com", roles: [Role.VIEWER] }, all);
  const { access, refresh, user } = await login("new@example.com", password);
  expect(user?.passwordExpired).toBe(true);
  expect((await fixture.claims(access))["roles"]).toEqual([]);
  const me = await fixture.bearer(access);
  await fixture.auth.changePassword({ currentPassword: password, newPassword: strongPassword }, me);
  const { tokens } = await fixture.auth.refresh({ refreshToken: refresh }, callAs({}));
  expect((await fixture.claims(tokens?.accessToken ?? ""))["roles"]).toEqual([Role.VIEWER]);
});
