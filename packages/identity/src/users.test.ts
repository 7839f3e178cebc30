import { Code, type ConnectError } from "@connectrpc/connect";
import { Role } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  addUser,
  callAs,
  startIdentityFixture,
  strongPassword,
  type CallHeaders,
  type IdentityFixture,
} from "./identity-fixture.ts";

let fixture: IdentityFixture;
let root: CallHeaders;
beforeAll(async () => {
  fixture = await startIdentityFixture();
  await addUser(fixture, "root@example.com", [Role.ADMINISTRATOR]);
  root = await signIn("root@example.com");
});
afterAll(() => fixture[Symbol.asyncDispose]());

async function signIn(email: string, password = strongPassword): Promise<CallHeaders> {
  const { tokens } = await fixture.auth.login({ email, password }, callAs({}));
  return fixture.bearer(tokens?.accessToken ?? "");
}

const refused = { code: Code.PermissionDenied };

test("users are created, read, replaced, patched, deleted and purged", async () => {
  const { users } = fixture;
  const { user } = await users.createUser(
    { email: "One@example.com", displayName: "One", roles: [1, 1], password: strongPassword },
    root,
  );
  const id = user?.id ?? "";
  expect(user).toMatchObject({ email: "One@example.com", roles: [Role.VIEWER], passwordExpired: false });
  await expect(users.createUser({ email: "one@EXAMPLE.com", password: strongPassword }, root)).rejects.toMatchObject({
    code: Code.AlreadyExists,
  });
  expect((await users.listUsers({ search: "one@", orderBy: "email" }, root)).users.map((one) => one.id)).toEqual([id]);
  const replaced = await users.replaceUser({ id, email: "two@example.com", roles: [Role.OPERATOR] }, root);
  expect(replaced.user).toMatchObject({ email: "two@example.com", displayName: "", roles: [Role.OPERATOR] });
  const patched = await users.updateUser(
    { id, displayName: "Two", updateMask: { paths: ["displayName", "roles"] } },
    root,
  );
  expect(patched.user).toMatchObject({ email: "two@example.com", displayName: "Two", roles: [] });
  expect((await users.updateUser({ id, disabled: true }, root)).user).toMatchObject({
    displayName: "Two",
    disabled: true,
  });
  await expect(users.updateUser({ id, updateMask: { paths: ["password"] } }, root)).rejects.toMatchObject({
    code: Code.InvalidArgument,
  });
  await expect(users.updateUser({ id, email: "no email" }, root)).rejects.toMatchObject({ code: Code.InvalidArgument });
  expect(await users.deleteUser({ id }, root)).toMatchObject({ purged: false });
  expect((await users.getUser({ id }, root)).user?.deletedAt).toBeDefined();
  await expect(users.updateUser({ id, displayName: "x" }, root)).rejects.toMatchObject({ code: Code.NotFound });
  expect((await users.listUsers({ search: "two@" }, root)).users).toEqual([]);
  expect((await users.listUsers({ search: "two@", includeDeleted: true }, root)).users).toHaveLength(1);
  expect(await users.deleteUser({ id }, root)).toMatchObject({ purged: true });
  await expect(users.getUser({ id }, root)).rejects.toMatchObject({ code: Code.NotFound });
});

test.for(["demoted", "disabled", "deleted"])("codes end with what who made them may do: %s", async (how) => {
  const { users, auth } = fixture;
  const [maker, victim] = [`maker-${how}@example.com`, `victim-${how}@example.com`];
  const id = await addUser(fixture, maker, [Role.ADMINISTRATOR]);
  const victimId = await addUser(fixture, victim, [Role.VIEWER]);
  const before = await signIn(maker);
  const { code: invitation } = await users.createInvitation({ roles: [Role.ADMINISTRATOR] }, before);
  const { code } = await users.createInvitation({ email: victim, passwordReset: true }, before);
  if (how === "demoted") await users.updateUser({ id, updateMask: { paths: ["roles"] } }, root);
  else if (how === "disabled") await users.updateUser({ id, disabled: true }, root);
  else await users.deleteUser({ id }, root);
  const late = { code: Code.FailedPrecondition };
  const back = { email: `back-${how}@example.com`, password: strongPassword, invitation };
  await expect(auth.register(back, callAs({}))).rejects.toMatchObject(late);
  await expect(auth.resetPassword({ code, newPassword: "taken over by me" })).rejects.toMatchObject(late);
  // Nor does one that was for somebody with less let anybody in who has more now.
  const mine = await users.createInvitation({ email: victim, passwordReset: true }, root);
  await users.updateUser({ id: victimId, roles: [Role.OPERATOR] }, root);
  const taken = { code: mine.code, newPassword: "taken over by me" };
  await expect(auth.resetPassword(taken)).rejects.toMatchObject(late);
});

test("nobody gives, changes or takes over more than they have", async () => {
  const { users, auth } = fixture;
  const manager = callAs({ subject: "m", permissions: ["users:read", "users:manage", "jobs:read"] });
  const { user } = await auth.getMe({}, root);
  const id = user?.id ?? "";
  const email = "root@example.com";
  await expect(
    users.createUser({ email: "x@example.com", roles: [Role.ADMINISTRATOR] }, manager),
  ).rejects.toMatchObject(refused);
  await expect(users.createInvitation({ roles: [Role.OPERATOR] }, manager)).rejects.toMatchObject(refused);
  await expect(users.createInvitation({ email, passwordReset: true }, manager)).rejects.toMatchObject(refused);
  await expect(users.updateUser({ id, email: "mine@example.com" }, manager)).rejects.toMatchObject(refused);
  await expect(users.deleteUser({ id, purge: true }, manager)).rejects.toMatchObject(refused);
  await expect(users.deleteUser({ id, purge: true }, root)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  const viewer = callAs({ subject: "v", permissions: ["jobs:read"] });
  await expect(users.listUsers({}, viewer)).rejects.toMatchObject(refused);
  await expect(users.createUser({ email: "x@example.com" }, viewer)).rejects.toMatchObject(refused);
  await expect(users.listUsers({})).rejects.toMatchObject({ code: Code.Unauthenticated });
});

test("an invitation lets one person in, once, with its roles", async () => {
  const { users, auth } = fixture;
  const person = { email: "guest@example.com", password: strongPassword };
  await expect(auth.register(person)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await expect(users.createInvitation({ email: "Root@example.com" }, root)).rejects.toMatchObject({
    code: Code.AlreadyExists,
  });
  const { code } = await users.createInvitation({ email: "Guest@example.com", roles: [Role.PUBLISHER] }, root);
  await expect(auth.register({ ...person, email: "else@example.com", invitation: code })).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
  await expect(auth.register({ ...person, password: "aaaaaaaaaaaaaaa", invitation: code })).rejects.toMatchObject({
    code: Code.InvalidArgument,
  });
  const { user } = await auth.register({ ...person, invitation: code });
  expect(user).toMatchObject({ email: "guest@example.com", roles: [Role.PUBLISHER] });
  await expect(auth.register({ ...person, invitation: code })).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await signIn("guest@example.com");
});

test("a forgotten password is set by a code, once, and all sessions end", async () => {
  const { users, auth } = fixture;
  await addUser(fixture, "f@example.com", []);
  const { tokens } = await auth.login({ email: "f@example.com", password: strongPassword }, callAs({}));
  expect(await auth.requestPasswordReset({ email: "f@example.com" })).toEqual(
    await auth.requestPasswordReset({ email: "nobody@example.com" }),
  );
  const asking = async () => (await users.listUsers({ resetAsked: true }, root)).users.map(({ email }) => email);
  await expect.poll(asking).toEqual(["f@example.com"]);
  const { code } = await users.createInvitation({ email: "f@example.com", passwordReset: true, validHours: 1 }, root);
  await expect(
    auth.register({ email: "f@example.com", password: strongPassword, invitation: code }),
  ).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await auth.resetPassword({ code, newPassword: "a brand new one" });
  await expect(auth.resetPassword({ code, newPassword: "a brand new two" })).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
  await expect(auth.refresh({ refreshToken: tokens?.refreshToken ?? "" })).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
  await signIn("f@example.com", "a brand new one");
  expect(await asking()).toEqual([]);
});

test("deleted users and lost roles take sessions and tokens with them", async () => {
  const { users, auth, tokens, runtime } = fixture;
  const id = await addUser(fixture, "gone@example.com", [Role.PUBLISHER]);
  const login = await auth.login({ email: "gone@example.com", password: strongPassword }, callAs({}));
  const me = await fixture.bearer(login.tokens?.accessToken ?? "");
  const { secret } = await tokens.createToken({ name: "ci", scopes: ["jobs:submit", "read"] }, me);
  const find = async () => (await runtime.findToken({ secretHash: await sha256(secret) })).caller;
  expect((await find())?.permissions).toContain("jobs:submit");
  await users.updateUser({ id, roles: [Role.VIEWER] }, root);
  expect((await find())?.permissions).not.toContain("jobs:submit");
  expect((await find())?.permissions).toContain("jobs:read");
  const refreshed = await auth.refresh({ refreshToken: login.tokens?.refreshToken ?? "" }, callAs({}));
  const { iat = 0, roles } = await fixture.claims(refreshed.tokens?.accessToken ?? "");
  expect(roles).toEqual([Role.VIEWER]);
  const revoked = (await fixture.store.identity.revocations.listRecent(60_000)).find((one) => one.subject === id);
  const old = await fixture.claims(login.tokens?.accessToken ?? "");
  expect((old.iat ?? 0) * 1000).toBeLessThan(revoked?.atMs ?? 0);
  expect(iat * 1000).toBeGreaterThanOrEqual(revoked?.atMs ?? Number.POSITIVE_INFINITY);
  await users.deleteUser({ id }, root);
  expect(await find()).toBeUndefined();
  const error: unknown = await auth
    .refresh({ refreshToken: refreshed.tokens?.refreshToken ?? "" })
    .catch((reason: ConnectError) => reason);
  expect(error).toMatchObject({ code: Code.Unauthenticated });
  await expect(auth.listSessions({}, me)).rejects.toMatchObject({ code: Code.Unauthenticated });
});

async function sha256(text: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
