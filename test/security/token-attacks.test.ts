/** Tokens that are forged, of another time or place, or of somebody who may not any more, at every door. */
import { createHmac, createPublicKey } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import { startGuarded, type Guarded } from "@millrace/gateway/testing";
import { AuthService, JobService, Role, SystemService } from "@millrace/protocol";
import { csrfTokenOf } from "@millrace/rpc";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type JWK } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Doors, doorNames, type Door } from "../lib/doors.ts";
import { Attacker, bearer, secured, strongPassword, type Person } from "./attacker.ts";

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const now = Math.floor(Date.now() / 1000);
const claims = { sub: "u1", sid: "s1", iss: "millrace", aud: "millrace", iat: now, exp: now + 900, roles: [5] };

/** Everything but the signing key is known to who forges; the gateway is the real one, and its keys are the test's. */
describe("a forged access token", () => {
  const stack = new AsyncDisposableStack();
  let guarded: Guarded;
  let doors: Doors;
  let good: string;
  let publicJwk: JWK;
  const stranger = generateKeyPair("EdDSA", { extractable: true });
  beforeAll(async () => {
    guarded = stack.use(await startGuarded());
    doors = stack.use(new Doors(guarded.gateway));
    good = await guarded.identity.accessToken([Role.VIEWER]);
    publicJwk = guarded.identity.publicKey;
  });
  afterAll(() => stack.disposeAsync());

  const pem = (): string =>
    createPublicKey({ key: publicJwk, format: "jwk" }).export({ type: "spki", format: "pem" }).toString();
  const hmac = (alg: string, secret: string | Buffer): string => {
    const signed = `${part({ alg, kid: "key-0" })}.${part(claims)}`;
    return `${signed}.${createHmac(alg === "HS256" ? "sha256" : "sha512", secret)
      .update(signed)
      .digest("base64url")}`;
  };
  const strange = async (header: object): Promise<string> =>
    new SignJWT(claims).setProtectedHeader({ alg: "EdDSA", ...header }).sign((await stranger).privateKey);
  const made = (change: Parameters<typeof guarded.identity.accessToken>[1], header = {}): Promise<string> =>
    guarded.identity.accessToken([Role.ADMINISTRATOR], change, header);
  const pieces = (): [string, string, string] => good.split(".") as [string, string, string];

  const forgeries: [what: string, forge: () => string | Promise<string>][] = [
    ["alg none", () => `${part({ alg: "none", kid: "key-0" })}.${part(claims)}.`],
    ["alg None in other letters", () => `${part({ alg: "nOnE", kid: "key-0" })}.${part(claims)}.`],
    ["alg none, with a signature", () => `${part({ alg: "none", kid: "key-0" })}.${part(claims)}.${pieces()[2]}`],
    ["no alg", () => `${part({ kid: "key-0" })}.${part(claims)}.${pieces()[2]}`],
    ["HS256 with the public key as the secret", () => hmac("HS256", pem())],
    [
      "HS256 with the public key's bytes as the secret",
      () => hmac("HS256", Buffer.from(publicJwk.x ?? "", "base64url")),
    ],
    ["HS512 with the public key as text", () => hmac("HS512", JSON.stringify(publicJwk))],
    ["HS256 with an empty secret", () => hmac("HS256", "")],
    [
      "RS256 with a key of its own",
      async () => {
        const { privateKey } = await generateKeyPair("RS256");
        return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "key-0" }).sign(privateKey);
      },
    ],
    ["another's key", () => strange({ kid: "key-0" })],
    ["no key id", () => strange({})],
    ["an unknown key id", () => made({}, { kid: "key-77" })],
    ["a key id that is a path", () => strange({ kid: "../../../../dev/null" })],
    ["a key id that is a query", () => strange({ kid: "x' UNION SELECT 'key'--" })],
    [
      "its own key in the header",
      async () => strange({ kid: "key-0", jwk: await exportJWK((await stranger).publicKey) }),
    ],
    ["an address of keys in the header", () => strange({ kid: "key-0", jku: `${secured.innerUrl}/jwks` })],
    [
      "a certificate in the header",
      async () =>
        strange({
          kid: "key-0",
          x5c: [(await exportSPKI((await stranger).publicKey)).replaceAll(/-----.*-----|\n/g, "")],
        }),
    ],
    [
      "a critical extension",
      () => {
        const header = part({ alg: "EdDSA", kid: "key-0", crit: ["exp"], exp: 1 });
        return `${header}.${part(claims)}.${pieces()[2]}`;
      },
    ],
    ["changed claims", () => `${pieces()[0]}.${part(claims)}.${pieces()[2]}`],
    ["expired", () => made({ iat: now - 900, exp: now - 60 })],
    ["without an end", () => made({ exp: undefined } as never)],
    ["ends that are words", () => made({ exp: "tomorrow" } as never)],
    ["not yet valid", () => made({ nbf: now + 60 })],
    ["from the future", () => made({ iat: now + 60 })],
    ["for a year", () => made({ iat: now - 5_000, exp: now + 31_536_000 })],
    ["another audience", () => made({ aud: "others" })],
    ["no audience", () => made({ aud: undefined } as never)],
    ["another issuer", () => made({ iss: "https://millrace.evil.example" })],
    ["no session", () => made({ sid: undefined })],
    ["no user", () => made({ sub: undefined } as never)],
    ["truncated", () => good.slice(0, -10)],
    ["a signature of zeros", () => `${pieces()[0]}.${pieces()[1]}.${Buffer.alloc(64).toString("base64url")}`],
    ["an empty signature", () => `${pieces()[0]}.${pieces()[1]}.`],
    ["two parts", () => pieces().slice(0, 2).join(".")],
    ["five parts", () => `${good}.${pieces()[1]}.${pieces()[2]}`],
    ["standard base64", () => [part({ alg: "none" }), Buffer.from("{}??>>").toString("base64"), "+/=="].join(".")],
    ["twice", () => `${good}${good}`],
    ["garbage", () => "~!.%00.{}"],
    ["no such API token", () => `mr_${"A".repeat(43)}`],
    ["an API token's prefix", () => "mr_"],
    ["a book", () => "x".repeat(10_000)],
    ["nothing", () => ""],
  ];

  it.for(doorNames)("is refused by %s in the same words, whatever is wrong with it", async (name) => {
    const said = new Map<string, string[]>();
    expect((await doors.through(name, bearer(good))(JobService.method.getJob, { id: "a-b" })).code).toBe("ok");
    for (const [what, forge] of forgeries) {
      const headers = { ...bearer(await forge()), "x-request-id": "r" };
      const {
        code,
        message,
        headers: got,
      } = await doors.through(name)(JobService.method.getJob, { id: "a-b" }, headers);
      const words = `${code}: ${message}, ${got["www-authenticate"] ?? ""}`;
      said.set(words, [...(said.get(words) ?? []), what]);
    }
    expect([...said.keys()], JSON.stringify([...said])).toEqual([
      "unauthenticated: valid credentials are needed, Bearer",
    ]);
  });

  it("is none when it is the same token, signed anew by the key", async () => {
    // That what is refused above is refused for what is wrong with it, and not for how it was made.
    for (const name of doorNames) {
      const token = await made({ nbf: now - 1 });
      expect((await doors.through(name, bearer(token))(JobService.method.getJob, { id: "a-b" })).code).toBe("ok");
    }
  });
});

const attacker = new Attacker("tokens", 11);
afterAll(() => attacker[Symbol.dispose]());

const { getMe, refresh, logout } = AuthService.method;
const { listJobs, cancelJob } = JobService.method;

/** Within a second every door refuses; until then it may have been known. */
async function expectRefused(headers: Record<string, string>, method: DescMethod = listJobs): Promise<void> {
  for (const [name, door] of attacker.doors(headers)) {
    await expect
      .poll(async () => [name, (await door(method)).code], { timeout: 1_000 })
      .toEqual([name, "unauthenticated"]);
  }
}

describe("a token that was good", () => {
  let person: Person;
  beforeAll(async () => {
    person = await attacker.person("ROLE_VIEWER");
  });
  const expectGood = async (headers: Record<string, string>): Promise<void> => {
    for (const [name, door] of attacker.doors(headers))
      expect([name, (await door(listJobs)).code]).toEqual([name, "ok"]);
  };

  it("is refused within a second when it was revoked", async () => {
    const { id, headers } = await attacker.token(person, ["read"]);
    await expectGood(headers);
    await attacker.expectOk("DELETE", `/api/v1/tokens/${id}`, undefined, person.access);
    await expectRefused(headers);
  });

  it("is refused when its session was ended elsewhere", async () => {
    const other = await attacker.signIn(person.email);
    await expectGood(other.headers);
    expect((await attacker.door("gRPC", other.headers)(logout)).code).toBe("ok");
    await expectRefused(other.headers);
    expect((await attacker.door("gRPC")(refresh, { refreshToken: other.refresh })).code).toBe("unauthenticated");
  });

  it.for([
    ["deleted", "DELETE", undefined],
    ["disabled", "PATCH", { disabled: true }],
  ] as const)("is refused when its user was %s, and so are the user's tokens for programs", async ([, verb, body]) => {
    const gone = await attacker.person("ROLE_VIEWER");
    const { headers } = await attacker.token(gone, ["read"]);
    await expectGood(gone.headers);
    await expectGood(headers);
    await attacker.expectOk(verb, `/api/v1/users/${gone.id}`, body);
    await expectRefused(gone.headers);
    await expectRefused(headers);
    await expectRefused(gone.headers, getMe);
    for (const [name, door] of attacker.doors()) {
      expect([name, (await door(refresh, { refreshToken: gone.refresh })).code]).toEqual([name, "unauthenticated"]);
    }
  });

  it("gives no more what its user's role gave, and the new one no more than the new role", async () => {
    const fallen = await attacker.person("ROLE_OPERATOR");
    const { headers } = await attacker.token(fallen, ["jobs:cancel", "jobs:read"]);
    const codes = async (of: Record<string, string>): Promise<string[]> =>
      Promise.all(attacker.doors(of).map(async ([, door]) => (await door(cancelJob, { id: "no-such-job" })).code));
    expect(new Set(await codes(fallen.headers))).toEqual(new Set(["not_found"]));
    expect(new Set(await codes(headers))).toEqual(new Set(["not_found"]));
    await attacker.expectOk("PATCH", `/api/v1/users/${fallen.id}`, { roles: ["ROLE_VIEWER"] });
    await expectRefused(fallen.headers);
    const renewed = await attacker.door("REST")(refresh, { refreshToken: fallen.refresh });
    const { accessToken } = renewed.answer["tokens"] as { accessToken: string };
    expect(new Set(await codes(bearer(accessToken)))).toEqual(new Set(["permission_denied"]));
    await expect
      .poll(async () => [...new Set(await codes(headers))], { timeout: 1_000 })
      .toEqual(["permission_denied"]);
  });
});

describe.each(doorNames)("%s: a refresh token", (name) => {
  it("that comes a second time ends the whole session", async () => {
    const door = attacker.door(name);
    const person = await attacker.person("ROLE_VIEWER");
    const renew = async (token: string) => door(refresh, { refreshToken: token });
    const first = (await renew(person.refresh)).answer["tokens"] as { accessToken: string; refreshToken: string };
    expect((await door(getMe, {}, bearer(first.accessToken))).code).toBe("ok");
    // Whoever has stolen the first one tries it; who of the two is the thief cannot be told.
    expect((await renew(person.refresh)).code).toBe("unauthenticated");
    expect((await renew(first.refreshToken)).code).toBe("unauthenticated");
    for (const token of [person.access, first.accessToken]) {
      await expect
        .poll(async () => (await door(getMe, {}, bearer(token))).code, { timeout: 1_000 })
        .toBe("unauthenticated");
    }
  });

  it("is no access token, and an access token is no refresh token", async () => {
    const door = attacker.door(name);
    const { access, refresh: own } = await attacker.signIn(victim.email);
    expect((await door(getMe, {}, bearer(own))).code).toBe("unauthenticated");
    for (const refreshToken of [access, "", own.slice(0, -2), `${own}x`, own.toUpperCase()]) {
      // Too long to be one, or none.
      expect((await door(refresh, { refreshToken })).code).toMatch(/^(invalid_argument|unauthenticated)$/);
    }
    expect((await door(refresh, { refreshToken: own })).code).toBe("ok");
  });
});

let victim: Person;
beforeAll(async () => {
  victim = await attacker.person("ROLE_PUBLISHER");
});

/** Browsers send cookies; only a page of ours knows the CSRF token that belongs to them. */
describe.each(doorNames)("%s: a browser's cookie", (name) => {
  let door: Door;
  beforeAll(() => {
    door = attacker.door(name);
  });
  const cookie = (token: string): Record<string, string> => ({ cookie: `theme=dark; mr_session=${token}` });
  const cancel = async (headers: Record<string, string>) =>
    (await door(cancelJob, { id: "no-such-job" }, headers)).code;

  it("changes nothing without its CSRF token, or with another's", async () => {
    const { access } = victim;
    const other = await attacker.signIn(victim.email);
    expect(await cancel(cookie(access))).toBe("permission_denied");
    expect(await cancel({ ...cookie(access), "x-csrf-token": "" })).toBe("permission_denied");
    expect(await cancel({ ...cookie(access), "x-csrf-token": "guess" })).toBe("permission_denied");
    expect(await cancel({ ...cookie(access), "x-csrf-token": csrfTokenOf(other.access) })).toBe("permission_denied");
    expect(await cancel({ ...cookie(access), "x-csrf-token": csrfTokenOf(access).slice(0, -1) })).toBe(
      "permission_denied",
    );
    expect(await cancel({ ...cookie(access), "x-csrf-token": csrfTokenOf(access) })).toBe("not_found");
  });

  it("that was tampered with is none, whatever comes with it", async () => {
    const [head = "", body = "", signature = ""] = victim.access.split(".");
    const claimed = JSON.parse(Buffer.from(body, "base64url").toString()) as object;
    for (const tampered of [
      `${head}.${part({ ...claimed, roles: [5] })}.${signature}`,
      `${head}.${body}.${signature.slice(0, -4)}AAAA`,
      `${part({ alg: "none" })}.${body}.`,
      secured.token.slice(0, -1),
      "deleted",
    ]) {
      const headers = { ...cookie(tampered), "x-csrf-token": csrfTokenOf(tampered) };
      expect(await cancel(headers)).toBe("unauthenticated");
      expect((await door(SystemService.method.getInfo, {}, headers)).code).toBe("unauthenticated");
    }
  });
});

it("a password that was right gives no session to who tampers with the cookie of the refresh token", async () => {
  const response = await attacker.fetch("/api/v1/auth/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: victim.email, password: strongPassword, cookie: true }),
  });
  const cookies = response.headers.getSetCookie();
  expect(cookies.every((line) => /; HttpOnly; SameSite=(Lax|Strict)/.test(line))).toBe(true);
  expect(await response.text()).not.toContain("accessToken");
  const own = /mr_refresh=([^;]+)/.exec(cookies.join("\n"))?.[1] ?? "";
  const renew = async (cookie: string): Promise<number> => {
    const init = { method: "POST", headers: { cookie, "content-type": "application/json" }, body: "{}" };
    const answer = await attacker.fetch("/api/v1/auth/refresh", init);
    await answer.body?.cancel();
    return answer.status;
  };
  expect(await renew(`mr_refresh=${own.slice(0, -2)}xx`)).toBe(401);
  expect(await renew(`mr_refresh=${own}`)).toBe(200);
});
