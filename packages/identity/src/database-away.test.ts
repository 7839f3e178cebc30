import { Code } from "@connectrpc/connect";
import { permissionsOfRoles, Role } from "@millrace/protocol";
import { openStore } from "@millrace/store";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { expect, test } from "vitest";
import { addUser, callAs, startIdentityFixture, strongPassword, type IdentityFixture } from "./identity-fixture.ts";
import { hashSecret } from "./secret.ts";

const binaries = findPostgresBinaries();
const long = { timeout: 20_000 };

const find = ({ runtime }: IdentityFixture, secret: string) =>
  runtime.findToken({ secretHash: Uint8Array.from(hashSecret(secret)) });

async function firstNews({ runtime }: IdentityFixture) {
  const stop = new AbortController();
  const { value } = await runtime.watchRevocations({}, { signal: stop.signal })[Symbol.asyncIterator]().next();
  stop.abort();
  return value;
}

test.skipIf(binaries === undefined)(
  "callers are known while the database is away, those too who have not called before",
  async () => {
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await startTestPostgres(binaries ?? ""));
    const store = stack.use(await openStore({ databaseUrl: postgres.url }));
    await store.migrate();
    const made = stack.use(await startIdentityFixture({ revocationPollMs: 50 }, store));
    await addUser(made, "root@example.com", [Role.ADMINISTRATOR]);
    const userId = await addUser(made, "pub@example.com", [Role.PUBLISHER]);
    const { tokens } = await made.auth.login({ email: "pub@example.com", password: strongPassword }, callAs({}));
    const publisher = await made.bearer(tokens?.accessToken ?? "");
    const create = (name: string) => made.tokens.createToken({ name, scopes: ["jobs:read", "jobs:submit"] }, publisher);
    const [old, gone] = [await create("old"), await create("gone")];

    // Another instance: what the first makes and ends from here on it only reads.
    const other = stack.use(await startIdentityFixture({ revocationPollMs: 50 }, store));
    const brief = stack.use(await startIdentityFixture({ revocationPollMs: 50, awayMs: 1_000 }, store));
    const fresh = await create("fresh");
    const all = callAs({ subject: "root", permissions: [...permissionsOfRoles([Role.ADMINISTRATOR])] });
    const stop = new AbortController();
    const feed = other.runtime.watchRevocations({}, { signal: stop.signal })[Symbol.asyncIterator]();
    expect((await feed.next()).value).toMatchObject({ complete: true, tokenIds: [] });
    await made.users.updateUser({ id: userId, roles: [Role.VIEWER], updateMask: { paths: ["roles"] } }, all);
    expect((await feed.next()).value?.users).toHaveLength(1);
    // What is told of the next reading was preceded by all of the one before.
    await made.tokens.revokeToken({ id: gone.token?.id ?? "" }, publisher);
    expect((await feed.next()).value?.tokenIds).toEqual([gone.token?.id]);
    stop.abort();

    await postgres.stop();
    for (const { secret } of [old, fresh]) {
      const { caller } = await find(other, secret);
      expect(caller).toMatchObject({ userId, permissions: ["jobs:read"] });
    }
    for (const secret of [gone.secret, `mr_${"x".repeat(43)}`]) {
      expect(await find(other, secret)).toMatchObject({ undecided: true });
    }
    expect((await other.runtime.getKeys({})).jwks).toBe((await made.runtime.getKeys({})).jwks);
    const news = await firstNews(other);
    expect(news).toMatchObject({ complete: true, tokenIds: [gone.token?.id], users: [{ userId }] });

    // Not for ever: it may be this instance only that is cut off.
    await expect.poll(async () => (await find(brief, old.secret)).undecided, long).toBe(true);
    await expect(firstNews(brief)).rejects.toMatchObject({ code: Code.Unavailable });

    await postgres.start();
    await expect.poll(async () => (await find(brief, old.secret)).caller?.userId, long).toBe(userId);
    await expect.poll(async () => (await find(other, gone.secret)).undecided, long).toBe(false);
    await expect.poll(async () => (await firstNews(brief).catch(() => undefined))?.complete, long).toBe(true);
  },
  60_000,
);
