import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Code } from "@connectrpc/connect";
import { permissionsOfRoles, Role } from "@millrace/protocol";
import { Provider } from "oidc-provider";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addUser, callAs, startIdentityFixture, strongPassword, type IdentityFixture } from "./identity-fixture.ts";

const redirectUri = "http://127.0.0.1:9/oidc";
const stack = new AsyncDisposableStack();
let fixture: IdentityFixture;
/** Who the provider signs in, as its login page would. */
let account = "ada";

beforeAll(async () => {
  const issuer = await startProvider();
  fixture = stack.use(
    await startIdentityFixture({
      oidc: {
        issuer,
        clientId: "millrace",
        clientSecret: "client secret",
        redirectUris: [redirectUri],
        newUserRoles: [Role.PUBLISHER],
      },
    }),
  );
  await addUser(fixture, "root@example.com", [Role.ADMINISTRATOR]);
});
afterAll(() => stack.disposeAsync());

async function startProvider(): Promise<string> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "millrace",
        client_secret: "client secret",
        redirect_uris: [redirectUri],
        token_endpoint_auth_method: "client_secret_post",
      },
    ],
    cookies: { keys: ["cookie key"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    ttl: { AccessToken: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: id !== "unverified", name: id }),
    }),
    async loadExistingGrant(ctx) {
      const { client, session } = ctx.oidc;
      if (client === undefined || session?.accountId === undefined) return undefined;
      const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid email profile");
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    if (!request.url?.startsWith("/interaction/")) void answer(request, response);
    else void provider.interactionFinished(request, response, { login: { accountId: account } });
  });
  return issuer;
}

/** As a browser that follows the provider until it is sent back. */
async function browse(from: string): Promise<{ code: string; state: string }> {
  const jar = new Map<string, string>();
  let url = from;
  for (let hops = 0; hops < 10 && !url.startsWith(redirectUri); hops++) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      jar.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
    }
    url = new URL(response.headers.get("location") ?? "/lost", url).href;
    await response.body?.cancel();
  }
  const { searchParams } = new URL(url);
  return { code: searchParams.get("code") ?? "", state: searchParams.get("state") ?? "" };
}

async function begin(): Promise<{ url: string; cookie: string }> {
  let cookie = "";
  const onHeader = (headers: Headers): void => void (cookie = headers.getSetCookie()[0]?.split(";")[0] ?? "");
  const { authorizationUrl } = await fixture.auth.beginOidcLogin({}, { ...callAs({}), onHeader });
  return { url: authorizationUrl, cookie };
}

const refused = { code: Code.Unauthenticated };

test("whoever signs in with the provider becomes a user, and the same one the next time", async () => {
  account = "ada";
  const { url } = await begin();
  expect(new URL(url).searchParams.get("code_challenge_method")).toBe("S256");
  const first = await fixture.auth.completeOidcLogin(await browse(url), callAs({}));
  expect(first.user).toMatchObject({ email: "ada@example.com", displayName: "ada", roles: [Role.PUBLISHER] });
  expect((await fixture.claims(first.tokens?.accessToken ?? "")).sub).toBe(first.user?.id);
  const second = await fixture.auth.completeOidcLogin(await browse((await begin()).url), callAs({}));
  expect(second.user?.id).toBe(first.user?.id);
  await expect(fixture.auth.login({ email: "ada@example.com", password: "any" }, callAs({}))).rejects.toMatchObject(
    refused,
  );
});

test("a user that is there already is known by a verified email, and only by that", async () => {
  const id = await addUser(fixture, "Known@example.com", [Role.VIEWER]);
  account = "known";
  expect((await fixture.auth.completeOidcLogin(await browse((await begin()).url), callAs({}))).user?.id).toBe(id);
  await addUser(fixture, "unverified@example.com", [Role.ADMINISTRATOR]);
  account = "unverified";
  await expect(fixture.auth.completeOidcLogin(await browse((await begin()).url), callAs({}))).rejects.toMatchObject(
    refused,
  );
});

test("a password that somebody else knows ends when the provider says whose the account is", async () => {
  const all = callAs({ subject: "root", permissions: [...permissionsOfRoles([Role.ADMINISTRATOR])] });
  const { password } = await fixture.users.createUser({ email: "grace@example.com", roles: [Role.VIEWER] }, all);
  // Who registered with somebody's email, and waits for them to come.
  const { code: invitation } = await fixture.users.createInvitation({ roles: [Role.VIEWER] }, all);
  const squatted = { email: "linus@example.com", password: "the squatter's own" };
  await fixture.auth.register({ ...squatted, invitation }, callAs({}));
  const squatter = await fixture.auth.login(squatted, callAs({}));
  const me = await fixture.bearer(squatter.tokens?.accessToken ?? "");
  const { secret } = await fixture.tokens.createToken({ name: "stays", scopes: ["read"] }, me);
  for (const [name, before] of [
    ["grace", password],
    ["linus", squatted.password],
  ] as const) {
    account = name;
    const { tokens } = await fixture.auth.completeOidcLogin(await browse((await begin()).url), callAs({}));
    // Not held to a password that its owner never had.
    expect((await fixture.claims(tokens?.accessToken ?? ""))["roles"]).toEqual([Role.VIEWER]);
    await expect(
      fixture.auth.login({ email: `${name}@example.com`, password: before }, callAs({})),
    ).rejects.toMatchObject(refused);
  }
  const { refreshToken = "" } = squatter.tokens ?? {};
  await expect(fixture.auth.refresh({ refreshToken }, callAs({}))).rejects.toMatchObject(refused);
  const secretHash = createHash("sha256").update(secret).digest();
  expect((await fixture.runtime.findToken({ secretHash })).caller).toBeUndefined();
  // One that its owner chose stays.
  await addUser(fixture, "margaret@example.com", []);
  account = "margaret";
  await fixture.auth.completeOidcLogin(await browse((await begin()).url), callAs({}));
  await fixture.auth.login({ email: "margaret@example.com", password: strongPassword }, callAs({}));
});

test("a state is used once, a code only with its state, and a browser session only where it began", async () => {
  account = "ada";
  const { url, cookie } = await begin();
  const back = await browse(url);
  await expect(fixture.auth.completeOidcLogin({ ...back, state: "another" }, callAs({}))).rejects.toMatchObject(
    refused,
  );
  const done = await fixture.auth.completeOidcLogin({ ...back, cookie: true }, callAs({}, { cookie }));
  expect(done.csrfToken).not.toBe("");
  await expect(fixture.auth.completeOidcLogin(back, callAs({}))).rejects.toMatchObject(refused);
  const stolen = await browse((await begin()).url);
  await expect(
    fixture.auth.completeOidcLogin({ ...stolen, cookie: true }, callAs({}, { cookie })),
  ).rejects.toMatchObject(refused);
  const mine = await begin();
  const theirs = await browse((await begin()).url);
  const { state } = await browse(mine.url);
  await expect(fixture.auth.completeOidcLogin({ code: theirs.code, state }, callAs({}))).rejects.toMatchObject(refused);
});

test("the provider sends browsers back only to where the setting says", async () => {
  const elsewhere = fixture.auth.beginOidcLogin({ redirectUri: "https://evil.example/" }, callAs({}));
  await expect(elsewhere).rejects.toMatchObject({ code: Code.InvalidArgument });
});
