/** API10:2023, unsafe consumption of APIs: what a provider, a server or a plugin answers is not believed unseen. */
import { createHmac } from "node:crypto";
import { AuthService, JobService, SettingsService } from "@millrace/protocol";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answeringModule } from "../hostile/answering-module.ts";
import { readSource } from "../hostile/assemble.ts";
import { doorNames, type DoorName, type Said } from "../lib/doors.ts";
import { tellPuppet, visitsOf } from "../lib/puppet-server.ts";
import { Attacker, secured } from "./attacker.ts";
import { pageOfOurs } from "./shared-system.ts";

const attacker = new Attacker("api10", 10);
afterAll(() => attacker[Symbol.dispose]());

const { puppetUrl, innerUrl } = secured;
const { beginOidcLogin, completeOidcLogin } = AuthService.method;
const clientSecret = "the secret of the client";
const json = (body: object, status = 200) => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

const truth = {
  issuer: puppetUrl,
  authorization_endpoint: `${puppetUrl}/authorize`,
  token_endpoint: `${puppetUrl}/token`,
  jwks_uri: `${puppetUrl}/jwks`,
  response_types_supported: ["code"],
  subject_types_supported: ["public"],
  id_token_signing_alg_values_supported: ["RS256"],
};
const ours = await generateKeyPair("RS256", { extractable: true });
const theirs = await generateKeyPair("RS256", { extractable: true });
const discovery = "/.well-known/openid-configuration";

/** Signs in by one door; the provider's answer to the code is made of the nonce that it was sent. */
async function signIn(name: DoorName, answer: (nonce: string) => Promise<object>): Promise<Said> {
  const door = attacker.door(name);
  const begun = await door(beginOidcLogin, { redirectUri: pageOfOurs });
  if (begun.code !== "ok") return begun;
  const { searchParams } = new URL(begun.answer["authorizationUrl"] as string);
  await tellPuppet(puppetUrl, { "/token": json(await answer(searchParams.get("nonce") ?? "")) });
  return door(completeOidcLogin, { code: "a-code", state: searchParams.get("state") ?? "" });
}

interface Lie {
  claims?: Record<string, unknown>;
  header?: { alg?: string; kid?: string };
  key?: CryptoKey;
}

async function tokens(nonce: string, { claims = {}, header = {}, key = ours.privateKey }: Lie = {}): Promise<object> {
  const now = Math.floor(Date.now() / 1000);
  const honest = { iss: puppetUrl, aud: "millrace", sub: "grace", nonce, iat: now, exp: now + 300 };
  const about = { email: "grace@example.com", email_verified: true, name: "Grace" };
  const idToken = await new SignJWT({ ...honest, ...about, ...claims })
    .setProtectedHeader({ alg: "RS256", kid: "k1", ...header })
    .sign(key);
  return withIdToken(idToken);
}

const withIdToken = (id_token: string): object => ({
  access_token: "a",
  token_type: "Bearer",
  expires_in: 60,
  id_token,
});
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("an OIDC provider", () => {
  it("is not believed who it is when its document names another, or is none, or is a book", async () => {
    const lies = [
      json({ ...truth, issuer: "https://elsewhere.example" }),
      json({ ...truth, issuer: undefined }),
      { body: "<html>", headers: { "content-type": "text/html" } },
      { status: 302, headers: { location: `${innerUrl}/secret` } },
      json({}, 500),
      json({ ...truth, padding: "x".repeat(2 << 20) }),
    ];
    for (const lie of lies) {
      await tellPuppet(puppetUrl, { [discovery]: lie });
      for (const name of ["REST", "gRPC"] as const) {
        const said = await attacker.door(name)(beginOidcLogin, {});
        expect(said).toMatchObject({ code: "unavailable", message: "the OIDC provider cannot be reached" });
      }
    }
    expect(await visitsOf(innerUrl)).toEqual([]);
  });

  it("signs in whom it vouches for", async () => {
    await tellPuppet(puppetUrl, {
      [discovery]: json(truth),
      "/jwks": json({ keys: [{ ...(await exportJWK(ours.publicKey)), kid: "k1", alg: "RS256", use: "sig" }] }),
    });
    const said = await signIn("gRPC-web", tokens);
    expect([said.code, said.message]).toEqual(["ok", ""]);
    expect(said.answer["user"]).toMatchObject({
      email: "grace@example.com",
      roles: ["ROLE_VIEWER"],
    });
  });

  const now = Math.floor(Date.now() / 1000);
  const lies: [what: string, answer: (nonce: string) => Promise<object>][] = [
    ["another issuer", (nonce) => tokens(nonce, { claims: { iss: "https://elsewhere.example" } })],
    ["another audience", (nonce) => tokens(nonce, { claims: { aud: "another-client" } })],
    ["two audiences and another party", (nonce) => tokens(nonce, { claims: { aud: ["millrace", "x"], azp: "x" } })],
    ["another nonce", (nonce) => tokens(`${nonce}x`)],
    ["no nonce", (nonce) => tokens(nonce, { claims: { nonce: undefined } })],
    ["no subject", (nonce) => tokens(nonce, { claims: { sub: undefined } })],
    ["a time that is over", (nonce) => tokens(nonce, { claims: { iat: now - 9_000, exp: now - 8_000 } })],
    ["another's signature", (nonce) => tokens(nonce, { key: theirs.privateKey })],
    ["a key that it does not publish", (nonce) => tokens(nonce, { header: { kid: "k2" }, key: theirs.privateKey })],
    [
      "no algorithm",
      async (nonce) =>
        withIdToken(
          `${part({ alg: "none" })}.${part({ sub: "grace", nonce, iss: puppetUrl, aud: "millrace", iat: now, exp: now + 300 })}.`,
        ),
    ],
    [
      "the client's secret as a key",
      async (nonce) => {
        const claims = { sub: "grace", nonce, iss: puppetUrl, aud: "millrace", iat: now, exp: now + 300 };
        const signed = `${part({ alg: "HS256" })}.${part(claims)}`;
        return withIdToken(`${signed}.${createHmac("sha256", clientSecret).update(signed).digest("base64url")}`);
      },
    ],
    ["an email that nobody verified", (nonce) => tokens(nonce, { claims: { sub: "mallory", email_verified: false } })],
    ["an email verified in words", (nonce) => tokens(nonce, { claims: { sub: "mallory", email_verified: "true" } })],
    ["no ID token", async () => ({ access_token: "a", token_type: "Bearer" })],
    ["no tokens", async () => ({})],
    ["a book", async (nonce) => ({ ...(await tokens(nonce)), padding: "x".repeat(2 << 20) })],
  ];
  for (const name of ["REST", "gRPC"] as const) {
    it.for(lies)(`is not believed by ${name} with %s`, async ([, answer]) => {
      expect(await signIn(name, answer)).toMatchObject({
        code: "unauthenticated",
        message: "the login with the provider did not succeed: begin again",
      });
    });
  }

  it("has no code or state taken twice", async () => {
    const door = attacker.door("Connect");
    const begun = await door(beginOidcLogin, {});
    const { searchParams } = new URL(begun.answer["authorizationUrl"] as string);
    await tellPuppet(puppetUrl, { "/token": json(await tokens(searchParams.get("nonce") ?? "")) });
    const back = { code: "a-code", state: searchParams.get("state") ?? "" };
    const ends = await Promise.all(attacker.doors().map(([, one]) => one(completeOidcLogin, back)));
    expect(ends.map(({ code }) => code).toSorted()).toEqual([
      "ok",
      ...Array.from({ length: 3 }, () => "unauthenticated"),
    ]);
  });
});

describe("a server that a plugin calls", () => {
  beforeAll(async () => {
    await tellPuppet(puppetUrl, {
      "/again": { status: 302, headers: { location: `${puppetUrl}/again` } },
      "/large": { body: "x".repeat(1 << 20), times: 64 },
      "/page": { body: "<script>" },
    });
    await attacker.expectOk("POST", "/api/v1/plugins", {
      manifest: {
        name: "api10",
        version: "1.0.0",
        handlers: [{ type: "api10-fetch", export: "fetch" }],
        capabilities: { http: [puppetUrl] },
        limits: { timeoutMs: 10_000 },
      },
      module: Buffer.from(await readSource("fetch")).toString("base64"),
      grants: ["http"],
    });
  });

  it.for(doorNames)("sends it round and round, or sends too much: a job by %s ends with a word", async (name) => {
    const { headers } = await attacker.person("ROLE_PUBLISHER");
    const door = attacker.door(name, headers);
    for (const path of ["/again", "/large"]) {
      const payload = { json: { method: "GET", url: puppetUrl + path } };
      const job = { type: "api10-fetch", payload, maxAttempts: 1, waitMs: 15_000 };
      const { answer } = await door(JobService.method.submitJob, job);
      expect([path, answer["result"]]).toMatchObject([
        path,
        { state: "JOB_STATE_DEAD", error: { code: "HOST_DENIED" } },
      ]);
    }
  });
});

describe("a plugin before and after requests", () => {
  const paths = ["/api/v1/flags", `/${SettingsService.typeName}/ListFlags`];
  const listFlags = SettingsService.method.listFlags;
  const encode = (answer: unknown): Uint8Array =>
    Buffer.from(typeof answer === "string" ? answer : JSON.stringify(answer));

  async function install(before: unknown, after: unknown): Promise<void> {
    const module = answeringModule({ before: encode(before), after: encode(after) });
    const interceptor = (phase: string) => ({
      phase: `INTERCEPTOR_PHASE_${phase.toUpperCase()}`,
      pathPrefixes: paths,
      export: phase,
      onFailure: "INTERCEPTOR_FAILURE_CLOSED",
      timeoutMs: 5_000,
    });
    version++;
    await attacker.expectOk("POST", "/api/v1/plugins", {
      manifest: {
        name: "api10-stands-around",
        version: `1.0.${version}`,
        interceptors: [interceptor("before"), interceptor("after")],
      },
      module: Buffer.from(module).toString("base64"),
    });
  }
  let version = 0;
  afterAll(async () => {
    await attacker.expectOk("DELETE", "/api/v1/plugins/api10-stands-around");
  });

  it("lifts nobody by headers that it sets, and takes no browser's guard away", async () => {
    const administrator = `Bearer ${secured.token}`;
    const stamped = { "x-stamp": "seen" };
    await install(
      { setHeaders: { authorization: administrator, cookie: `mr_session=${secured.token}`, "millrace-caller": "{}" } },
      {
        setHeaders: {
          ...stamped,
          "set-cookie": "mr_session=x",
          "access-control-allow-origin": "*",
          "x-frame-options": "ALLOW",
        },
        removeHeaders: ["x-content-type-options", "x-frame-options", "www-authenticate"],
      },
    );
    const { headers } = await attacker.person("ROLE_VIEWER");
    const rest = attacker.door("REST", headers);
    await expect.poll(async () => (await rest(listFlags)).headers["x-stamp"], { timeout: 10_000 }).toBe("seen");
    for (const [name, door] of attacker.doors()) {
      expect([name, (await door(listFlags, {}, headers)).code]).toEqual([name, "permission_denied"]);
      expect([name, (await door(listFlags)).code]).toEqual([name, "unauthenticated"]);
    }
    const said = await rest(listFlags);
    expect(said.headers).toMatchObject({ "x-content-type-options": "nosniff", "x-frame-options": "DENY" });
    for (const name of ["set-cookie", "access-control-allow-origin"]) expect(said.headers[name]).toBeUndefined();
  });

  it.for([
    ["no JSON", "{"],
    ["something else", { allow: true }],
    ["a status that lets in", { deny: { status: 200 } }],
    ["a header that breaks out", { setHeaders: { "x-a": "b\r\nset-cookie: c=d" } }],
    ["a book", "x".repeat(100_000)],
  ] as const)("that answers %s lets nobody through when it has to answer", async ([, answer]) => {
    await install(answer, {});
    for (const [name, door] of attacker.doors({ authorization: `Bearer ${secured.token}` })) {
      await expect
        .poll(async () => [name, (await door(listFlags)).code], { timeout: 10_000 })
        .toEqual([name, "unavailable"]);
    }
  });
});
