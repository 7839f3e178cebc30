import type { Store } from "@millrace/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openIdentityStore } from "./identity-fixture.ts";
import { LoginGuard } from "./login-guard.ts";

let store: Store;
beforeAll(async () => {
  store = await openIdentityStore();
});
afterAll(() => store[Symbol.asyncDispose]());

const locked = { code: "resource_exhausted" };

test("an address that tries many accounts has to wait, and so has all of its IPv6 network", async () => {
  const guard = new LoginGuard(store.identity.loginFailures);
  for (let n = 0; n < 31; n++) await guard.begin(`user${n}@example.com`, `2001:db8::${n.toString(16)}`);
  await expect(guard.begin("new@example.com", "2001:db8:0:0:ffff::1")).rejects.toMatchObject(locked);
  await guard.begin("new@example.com", "2001:db8:0:1::1");
  await guard.begin("new@example.com", "::ffff:192.0.2.1");
  // After a restart too.
  const another = new LoginGuard(store.identity.loginFailures);
  await expect(another.begin("third@example.com", "2001:db8::1")).rejects.toMatchObject(locked);
  await another.begin("third@example.com", "");
});

test("who succeeds starts again, and what was not decided does not count", async () => {
  const guard = new LoginGuard(store.identity.loginFailures);
  for (let n = 0; n < 20; n++) await (await guard.begin("a@example.com", "192.0.2.9")).withdraw();
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 5; n++) await guard.begin("A@example.com", "");
    await (await guard.begin("a@example.com", "")).succeeded();
  }
});
