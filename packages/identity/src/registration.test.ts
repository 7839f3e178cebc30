import { Code, ConnectError } from "@connectrpc/connect";
import { Role } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callAs, openIdentityStore, startIdentityFixture, strongPassword } from "./identity-fixture.ts";
import { LoginGuard } from "./login-guard.ts";

let store: Store;
beforeAll(async () => {
  store = await openIdentityStore();
});
afterAll(() => store[Symbol.asyncDispose]());

test("the first start makes an administrator with a password shown once, and only the first", async () => {
  await using fresh = await startIdentityFixture({}, store);
  await expect(fresh.identity.issueLocalToken("x")).rejects.toMatchObject({ code: "failed_precondition" });
  const first = await fresh.identity.ensureAdministrator();
  expect(first?.email).toBe("admin@localhost");
  expect(await fresh.identity.ensureAdministrator()).toBeUndefined();
  const { user } = await fresh.auth.login({ email: "admin@localhost", password: first?.password ?? "" }, callAs({}));
  expect(user).toMatchObject({ roles: [Role.ADMINISTRATOR], passwordExpired: true });
});

test("open registration does not tell who is known", async () => {
  await using open = await startIdentityFixture({ registration: () => "open" }, store);
  const person = { email: "a@example.com", password: strongPassword };
  const first = await open.auth.register({ ...person, displayName: "A" });
  const second = await open.auth.register({ ...person, displayName: "A", password: "quite another one" });
  const shape = (answer: typeof first): string[] => Object.keys(answer.user ?? {}).toSorted();
  expect(shape(second)).toEqual(shape(first));
  expect(second.user).toMatchObject({ email: "a@example.com", roles: [Role.VIEWER] });
  expect(second.user?.id).not.toBe(first.user?.id);
  await open.auth.login(person, callAs({}));
});

test("an address adds some users to an open door, and no crowd", async () => {
  await using open = await startIdentityFixture({ registration: () => "open" }, store);
  const guard = new LoginGuard(store.identity.loginFailures);
  for (let n = 0; n < 51; n++) await guard.beginRegistration("203.0.113.1");
  const join = (address: string) =>
    open.auth.register({ email: `${address}@example.com`, password: strongPassword }, callAs({ address }));
  await expect(join("203.0.113.1")).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await join("203.0.113.2");
});

test.for([
  [{ email: "zero\u{200b}width@example.com" }, "email"],
  [{ email: "turned\u{202e}@example.com" }, "email"],
  [{ displayName: "\u{1b}[2J" }, "display_name"],
  [{ displayName: "two\nlines" }, "display_name"],
  [{ displayName: "\u{202e}nimda" }, "display_name"],
] as const)("what would look like another, or break a terminal, is refused: %j", async ([odd, field]) => {
  await using open = await startIdentityFixture({ registration: () => "open" }, store);
  const person = { email: "odd@example.com", password: strongPassword, ...odd };
  const error = ConnectError.from(await open.auth.register(person, callAs({})).catch((reason: unknown) => reason));
  expect([error.code, error.rawMessage.split(" ")[0]]).toEqual([Code.InvalidArgument, field]);
});

test("registration that is off takes nobody, and a restart keeps the key of tokens", async () => {
  await using closed = await startIdentityFixture({ registration: () => "off" }, store);
  const person = { email: "b@example.com", password: strongPassword };
  const refused = { code: Code.FailedPrecondition };
  await expect(closed.auth.register({ ...person, invitation: "x" })).rejects.toMatchObject(refused);
  expect((JSON.parse((await closed.runtime.getKeys({})).jwks) as { keys: unknown[] }).keys).toHaveLength(1);
});
