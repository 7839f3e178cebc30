import { Code } from "@connectrpc/connect";
import { Role } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callAs, openIdentityStore, startIdentityFixture, strongPassword } from "./identity-fixture.ts";

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

test("registration that is off takes nobody, and a restart keeps the key of tokens", async () => {
  await using closed = await startIdentityFixture({ registration: () => "off" }, store);
  const person = { email: "b@example.com", password: strongPassword };
  const refused = { code: Code.FailedPrecondition };
  await expect(closed.auth.register({ ...person, invitation: "x" })).rejects.toMatchObject(refused);
  expect((JSON.parse((await closed.runtime.getKeys({})).jwks) as { keys: unknown[] }).keys).toHaveLength(1);
});
