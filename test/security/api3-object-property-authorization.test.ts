/** API3:2023, broken object property level authorization: nobody sets or sees more of an object than they may. */
import { create, toBinary, type DescMethod, type JsonObject } from "@bufbuild/protobuf";
import { AuthService, RegisterRequestSchema, SettingsService, TokenService, UserService } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorNames } from "../lib/doors.ts";
import { Attacker, bearer, secured, strongPassword, type Person } from "./attacker.ts";

const attacker = new Attacker("api3", 3);
afterAll(() => attacker[Symbol.dispose]());

const administrator = bearer(secured.token);
const users = UserService.method;
let person: Person;
let root: Person;
let keeper: { readonly authorization: string };
beforeAll(async () => {
  person = await attacker.person("ROLE_VIEWER");
  root = await attacker.person("ROLE_ADMINISTRATOR");
  keeper = (await attacker.token(root, ["users:read", "users:manage"])).headers;
});

/** The JSON doors: what is not in the contract cannot even be written in protobuf's own form. */
describe.each(["REST", "Connect"] as const)("%s: a field that is not the caller's to set", (name) => {
  // As Connect has it, callers may be newer than the server: there it is left out, by REST it is refused.
  const expected = name === "REST" ? 400 : 200;
  const post = async (method: DescMethod, path: string, verb: string, body: object, headers = {}): Promise<number> => {
    const rest = name === "REST";
    const response = await attacker.fetch(rest ? path : `/${method.parent.typeName}/${method.name}`, {
      method: rest ? verb : "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    await response.body?.cancel();
    return response.status;
  };

  it("has no effect at registration", async () => {
    const extras: JsonObject[] = [
      { roles: ["ROLE_ADMINISTRATOR"] },
      { user: { roles: ["ROLE_ADMINISTRATOR"] } },
      { id: "chosen", isAdmin: true, constructor: { prototype: { roles: [5] } } },
    ];
    for (const [n, extra] of extras.entries()) {
      const email = `mass-${n}-${name.toLowerCase()}@example.com`;
      const wish = { email, password: strongPassword, ...extra };
      expect(await post(AuthService.method.register, "/api/v1/auth/register", "POST", wish)).toBe(expected);
      const { users: found = [] } = await attacker.expectOk<{ users?: { id: string; roles: string[] }[] }>(
        "GET",
        `/api/v1/users?search=${email}`,
      );
      expect(found.map(({ roles }) => roles)).toEqual(name === "REST" ? [] : [["ROLE_VIEWER"]]);
      expect(found.map(({ id }) => id)).not.toContain("chosen");
    }
  });

  it("has no effect in a change of a user, even by an administrator", async () => {
    const { id, email } = person;
    const path = `/api/v1/users/${id}`;
    const extras = { passwordHash: "x", createdAt: "2020-01-01T00:00:00Z", passwordExpired: true, lastLoginAt: null };
    const before = await attacker.expectOk<{ user: object }>("GET", path);
    const body = { ...(name === "REST" ? {} : { id }), ...extras };
    expect(await post(users.updateUser, path, "PATCH", body, administrator)).toBe(expected);
    const whole = { ...body, email, roles: ["ROLE_VIEWER"] };
    expect(await post(users.replaceUser, path, "PUT", whole, administrator)).toBe(expected);
    const after = await attacker.expectOk<{ user: object }>("GET", path);
    expect({ ...after.user, updatedAt: "" }).toEqual({ ...before.user, updatedAt: "" });
    await attacker.signIn(email);
  });
});

describe.each(doorNames)("%s", (name) => {
  const door = attacker.door(name);

  it("changes no user by a mask that names what is hidden", async () => {
    for (const path of ["password_hash", "id", "password_expired", "created_at", "*", "roles.0", "oidc_subject"]) {
      const said = await door(users.updateUser, { id: person.id, updateMask: camel(path) }, administrator);
      expect([path, said.code]).toEqual([path, "invalid_argument"]);
    }
  });

  it("lets nobody give themselves roles", async () => {
    const { id, email, headers } = person;
    const roles = ["ROLE_ADMINISTRATOR"];
    const tries: [DescMethod, JsonObject][] = [
      [users.updateUser, { id, roles }],
      [users.replaceUser, { id, email, roles }],
      [users.createUser, { email: "x@example.com", roles }],
      [users.createInvitation, { roles }],
      [TokenService.method.createToken, { name: "x", scopes: ["admin"] }],
      [TokenService.method.createToken, { name: "x", scopes: ["read", "users:manage"] }],
    ];
    for (const [method, request] of tries) {
      expect([method.name, (await door(method, request, headers)).code]).toEqual([method.name, "permission_denied"]);
    }
    expect((await door(AuthService.method.getMe, {}, headers)).answer["user"]).toMatchObject({
      roles: ["ROLE_VIEWER"],
    });
  });

  it("lets a token that keeps users give nobody more than it has, and take over nobody who has more", async () => {
    const { id, email } = root;
    const roles = ["ROLE_ADMINISTRATOR"];
    const tries: [DescMethod, JsonObject][] = [
      [users.createUser, { email: "made@example.com", roles }],
      [users.createInvitation, { roles }],
      [users.createInvitation, { email, passwordReset: true }],
      [users.updateUser, { id: person.id, roles }],
      [users.updateUser, { id, email: "mine@example.com" }],
      [users.replaceUser, { id: person.id, email: person.email, roles }],
      [users.deleteUser, { id, purge: true }],
    ];
    for (const [method, request] of tries) {
      expect([method.name, (await door(method, request, keeper)).code]).toEqual([method.name, "permission_denied"]);
    }
  });

  it("shows no secret in any answer", async () => {
    const made = await door(TokenService.method.createToken, { name: "seen once", scopes: ["read"] }, person.headers);
    const secret = made.answer["secret"] as string;
    expect(secret).toMatch(/^mr_[\w-]{43}$/);
    const invited = await door(users.createInvitation, { email: "seen@example.com" }, administrator);
    const answers = [
      await door(TokenService.method.listTokens, {}, person.headers),
      await door(AuthService.method.getMe, {}, person.headers),
      await door(AuthService.method.listSessions, {}, person.headers),
      await door(users.getUser, { id: person.id }, administrator),
      await door(users.listUsers, { pageSize: 500 }, administrator),
      await door(SettingsService.method.listSettings, {}, administrator),
    ];
    const hidden = [secret, secret.slice(10), strongPassword, person.refresh, person.access, "$argon2", "_hash"];
    const settings = ["the secret of the client", "postgres://"];
    for (const { code, raw } of answers) {
      expect(code).toBe("ok");
      for (const text of [...hidden, ...settings, invited.answer["code"] as string]) expect(raw).not.toContain(text);
    }
  });
});

it("the audit trail has no secrets, of calls with passwords and codes either", async () => {
  const password = "a password for the trail";
  await attacker.person();
  const { code } = await attacker.expectOk<{ code: string }>("POST", "/api/v1/users:invite", {
    email: "trail@example.com",
  });
  for (const [, door] of attacker.doors()) {
    await door(AuthService.method.login, { email: "trail@example.com", password });
    await door(AuthService.method.resetPassword, { code, newPassword: password });
  }
  await expect
    .poll(async () => {
      const answer = await attacker.administrator.fetch("/api/v1/audit?action=AuthService/ResetPassword");
      return (await answer.text()).match(/ResetPassword/g)?.length ?? 0;
    })
    .toBeGreaterThanOrEqual(4);
  const trail = await (await attacker.administrator.fetch("/api/v1/audit?pageSize=500")).text();
  for (const text of [password, strongPassword, code]) expect(trail).not.toContain(text);
});

it.for(["gRPC-web", "Connect"])(
  "fields that %s does not know are not taken for others of that number",
  async (name) => {
    const email = `unknown-${name.toLowerCase()}@example.com`;
    const known = toBinary(RegisterRequestSchema, create(RegisterRequestSchema, { email, password: strongPassword }));
    // Roles, as field 4 of User has them, disguised under each number that a later version might use.
    const extra = [5, 6, 7, 8, 9, 10].flatMap((field) => [(field << 3) | 2, 1, 5]);
    const bytes = Buffer.from([...known, ...extra]);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes.length, 1);
    const web = name === "gRPC-web";
    const response = await attacker.fetch("/millrace.identity.v1.AuthService/Register", {
      method: "POST",
      headers: { "content-type": web ? "application/grpc-web+proto" : "application/proto" },
      body: web ? Buffer.concat([head, bytes]) : bytes,
    });
    expect(response.status).toBe(200);
    await response.arrayBuffer();
    const { users: found } = await attacker.expectOk<{ users: { roles: string[] }[] }>(
      "GET",
      `/api/v1/users?search=${email}`,
    );
    expect(found.map(({ roles }) => roles)).toEqual([["ROLE_VIEWER"]]);
  },
);

/** A mask's JSON has lower camel case. */
function camel(path: string): string {
  return path.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
