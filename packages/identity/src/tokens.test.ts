import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
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
import { hashSecret } from "./secret.ts";

const memberBeatMs = 500;
let fixture: IdentityFixture;
let publisher: CallHeaders;
beforeAll(async () => {
  fixture = await startIdentityFixture({ revocationPollMs: 50, memberBeatMs });
  await addUser(fixture, "root@example.com", [Role.ADMINISTRATOR]);
  await addUser(fixture, "pub@example.com", [Role.PUBLISHER]);
  const { tokens } = await fixture.auth.login({ email: "pub@example.com", password: strongPassword }, callAs({}));
  publisher = await fixture.bearer(tokens?.accessToken ?? "");
});
afterAll(() => fixture[Symbol.asyncDispose]());

const find = async (secret: string) =>
  (await fixture.runtime.findToken({ secretHash: Uint8Array.from(hashSecret(secret)) })).caller;

test("a token has 256 random bits, is found by its hash, and is limited as asked", async () => {
  const wish = { name: "ci", scopes: ["jobs:submit"], queues: ["emails"], types: ["send"] };
  const { token, secret } = await fixture.tokens.createToken(wish, publisher);
  expect(secret).toMatch(/^mr_[\w-]{43}$/);
  expect(secret.startsWith(token?.hint ?? "?")).toBe(true);
  const in90Days = Date.now() + 90 * 86_400_000;
  expect(Math.abs(timestampMs(token?.expiresAt ?? timestampFromMs(0)) - in90Days)).toBeLessThan(60_000);
  expect(await find(secret)).toMatchObject({
    email: "pub@example.com",
    permissions: ["jobs:submit"],
    queues: ["emails"],
    types: ["send"],
    tokenId: token?.id,
  });
  expect(await find(`${secret}x`)).toBeUndefined();
  const { tokens } = await fixture.tokens.listTokens({}, publisher);
  expect(tokens.map(({ name }) => name)).toContain("ci");
  expect(tokens[0]?.lastUsedAt).toBeDefined();
});

test("a token gives no more than its owner has, and what is not a scope is refused", async () => {
  for (const scopes of [["admin"], ["write"], ["plugins:push"]]) {
    await expect(fixture.tokens.createToken({ name: "x", scopes }, publisher)).rejects.toMatchObject({
      code: Code.PermissionDenied,
    });
  }
  const wrong = [
    { scopes: ["root"] },
    { scopes: ["read"], queues: ["a.b"] },
    { scopes: ["read"], types: ["*"] },
    { scopes: ["read"], expiresAt: timestampFromMs(Date.now() - 1) },
    { scopes: ["read"], expiresAt: timestampFromMs(Date.now() + 1e14) },
  ];
  for (const wish of wrong) {
    await expect(fixture.tokens.createToken({ name: "x", ...wish }, publisher)).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
  }
});

test("a narrow token cannot act as its owner, but may end itself", async () => {
  const { token, secret } = await fixture.tokens.createToken({ name: "narrow", scopes: ["read"] }, publisher);
  const caller = await find(secret);
  const narrow = callAs({
    subject: caller?.userId ?? "",
    tokenId: token?.id ?? "",
    permissions: caller?.permissions ?? [],
  });
  const refused = { code: Code.PermissionDenied };
  await expect(fixture.tokens.createToken({ name: "x", scopes: ["read"] }, narrow)).rejects.toMatchObject(refused);
  await expect(fixture.tokens.listTokens({}, narrow)).rejects.toMatchObject(refused);
  await expect(fixture.auth.logout({ everywhere: true }, narrow)).rejects.toMatchObject(refused);
  expect((await fixture.auth.getMe({}, narrow)).permissions).toContain("jobs:read");
  await fixture.tokens.revokeToken({ id: token?.id ?? "" }, narrow);
  expect(await find(secret)).toBeUndefined();
  await expect(fixture.tokens.revokeToken({ id: token?.id ?? "" }, publisher)).rejects.toMatchObject({
    code: Code.NotFound,
  });
});

test("watchers hear of what ends, first all and then each, within a second", async () => {
  const { token } = await fixture.tokens.createToken({ name: "watched", scopes: ["read"] }, publisher);
  const stop = new AbortController();
  const feed = fixture.runtime.watchRevocations({}, { signal: stop.signal })[Symbol.asyncIterator]();
  const next = async () => {
    const { value } = await feed.next();
    return value;
  };
  expect((await next())?.complete).toBe(true);
  await fixture.tokens.revokeToken({ id: token?.id ?? "" }, publisher);
  expect(await next()).toMatchObject({ tokenIds: expect.arrayContaining([token?.id]), complete: false });
  // As another instance does it: nobody tells this one.
  const id = await addUser(fixture, "w@example.com", []);
  const since = performance.now();
  await fixture.store.identity.users.delete(id, true, () => undefined);
  expect((await next())?.users.map((user: { userId: string }) => user.userId)).toEqual([id]);
  expect(performance.now() - since).toBeLessThan(1_000);
  stop.abort();
});

test("the token of this machine is replaced by the next of its name", async () => {
  const first = await fixture.identity.issueLocalToken("this machine");
  expect((await find(first))?.permissions).toContain("users:manage");
  const second = await fixture.identity.issueLocalToken("this machine");
  expect(await find(first)).toBeUndefined();
  expect((await find(second))?.email).toBe("root@example.com");
});

test("gateways lease tokens of a bucket that they share", async () => {
  const wish = { key: "user:a", tokens: 60, ratePerMinute: 60, burst: 100 };
  const lease = async () => (await fixture.limiter.lease({ wishes: [wish] })).grants[0];
  expect(await lease()).toMatchObject({ tokens: 60, retryAfterMs: 0, remaining: 40 });
  expect(await lease()).toMatchObject({ tokens: 40, remaining: 0 });
  const empty = await lease();
  expect(empty?.tokens).toBe(0);
  expect(empty?.retryAfterMs).toBeGreaterThan(0);
  expect(empty?.retryAfterMs).toBeLessThanOrEqual(1000);
});

test("identities that share a database grant a limit together, each its share", async () => {
  const { store } = fixture;
  const beats = { timeout: 20 * memberBeatMs };
  await using first = await startIdentityFixture({ memberBeatMs }, store);
  let keys = 0;
  const grant = async ({ limiter }: IdentityFixture, key = `new:${keys++}`) => {
    const { grants } = await limiter.lease({ wishes: [{ key, tokens: 300, ratePerMinute: 1, burst: 300 }] });
    return grants[0]?.tokens;
  };
  // The one that other tests here use is the second.
  await expect.poll(() => grant(first), beats).toBe(150);
  {
    await using third = await startIdentityFixture({ memberBeatMs }, store);
    await expect.poll(() => grant(first), beats).toBe(100);
    expect([await grant(first, "same"), await grant(third, "same"), await grant(third, "same")]).toEqual([100, 100, 0]);
  }
  await expect.poll(() => grant(first), beats).toBe(150);
});
