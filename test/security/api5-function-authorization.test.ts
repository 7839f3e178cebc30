/** API5:2023, broken function level authorization: each role does what it may, however it asks. */
import { getOption, type DescMethod } from "@bufbuild/protobuf";
import {
  accessRule,
  AuditRuntimeService,
  AuthService,
  IdentityRuntimeService,
  identityServices,
  LimiterRuntimeService,
  permissionsOfRoles,
  PluginRuntimeService,
  Role,
  services,
  SettingsRuntimeService,
  UserService,
} from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorNames } from "../lib/doors.ts";
import { Attacker, bearer, secured, type Person } from "./attacker.ts";

const attacker = new Attacker("api5", 5);
afterAll(() => attacker[Symbol.dispose]());

const methods: DescMethod[] = [...services, ...identityServices].flatMap((service) => [...service.methods]);
const roles = ["VIEWER", "PUBLISHER", "PLUGIN_AUTHOR", "OPERATOR"] as const;
const people = new Map<string, Person>();
beforeAll(async () => {
  for (const role of roles) people.set(role, await attacker.person(`ROLE_${role}`));
  people.set("ADMINISTRATOR", await attacker.person("ROLE_ADMINISTRATOR"));
});

const permissionOf = (method: DescMethod): string => getOption(method, accessRule).permission;

describe.each(doorNames)("%s", (name) => {
  const door = attacker.door(name);

  it("asks everybody who they are, but for what is public", async () => {
    const open: string[] = [];
    for (const method of methods.filter((one) => permissionOf(one) !== "public")) {
      if ((await door(method)).code !== "unauthenticated") open.push(method.name);
    }
    expect(open).toEqual([]);
  });

  it.for(roles)("lets a %s do nothing that the role does not give", async (role) => {
    const may = permissionsOfRoles([Role[role]]) as ReadonlySet<string>;
    const beyond = methods.filter(
      (method) => !["public", "self"].includes(permissionOf(method)) && !may.has(permissionOf(method)),
    );
    expect(beyond.length).toBeGreaterThan(5);
    const open: string[] = [];
    for (const method of beyond) {
      const { code } = await door(method, {}, people.get(role)?.headers);
      if (code !== "permission_denied") open.push(`${method.name}: ${code}`);
    }
    expect(open).toEqual([]);
  });

  it("offers nothing that is for services among themselves", async () => {
    for (const service of [
      IdentityRuntimeService,
      LimiterRuntimeService,
      PluginRuntimeService,
      AuditRuntimeService,
      SettingsRuntimeService,
    ]) {
      for (const method of service.methods as readonly DescMethod[]) {
        if (name === "REST") continue; // It has no route for them: see API9.
        const { code } = await door(method, {}, bearer(secured.token));
        expect([method.name, code]).toEqual([method.name, name === "gRPC" ? "unimplemented" : "not_found"]);
      }
    }
  });

  it("gives a token for programs no more than its scopes, though its owner may do everything", async () => {
    const administrator = people.get("ADMINISTRATOR") as Person;
    const { headers } = await attacker.token(administrator, ["jobs:read"]);
    const { id } = administrator;
    const own = [
      [UserService.method.listUsers, {}],
      [UserService.method.updateUser, { id, displayName: "x" }],
      [AuthService.method.changePassword, { currentPassword: "x", newPassword: "a good new password" }],
      [AuthService.method.listSessions, {}],
      [AuthService.method.logout, { everywhere: true }],
    ] as const;
    for (const [method, request] of own) {
      expect([method.name, (await door(method, request, headers)).code]).toEqual([method.name, "permission_denied"]);
    }
    expect((await door(AuthService.method.getMe, {}, administrator.headers)).code).toBe("ok");
  });
});

describe("a detour", () => {
  const users = "/api/v1/users";
  const tricks: [what: string, path: string, init: RequestInit][] = [
    ["another verb in a header", users, { headers: { "x-http-method-override": "DELETE", "x-http-method": "PUT" } }],
    ["a verb in the query", `${users}?_method=DELETE`, {}],
    ["HEAD", users, { method: "HEAD" }],
    ["two slashes", `//api/v1/users`, {}],
    ["a slash at the end", `${users}/`, {}],
    ["capitals", "/API/V1/USERS", {}],
    ["dots", "/api/v1/jobs/../users", {}],
    ["escaped dots", "/api/v1/jobs/%2e%2e/users", {}],
    ["an escaped slash", "/api/v1%2fusers", {}],
    ["a semicolon", `${users};.css`, {}],
    ["a null byte", `${users}%00.json`, {}],
    ["headers of proxies", users, { headers: { "x-original-url": "/health/live", "x-rewrite-url": "/health/live" } }],
    ["an address of this machine", users, { headers: { "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1" } }],
    ["Connect by GET", "/millrace.identity.v1.UserService/ListUsers?connect=v1&encoding=json&message=%7B%7D", {}],
    ["REST by gRPC's path", "/millrace.identity.v1.UserService/ListUsers", { method: "GET" }],
    ["a plugin's path", "/ext/../api/v1/users", {}],
  ];
  it.for(tricks)("by %s leads nowhere", async ([, path, init]) => {
    const viewer = people.get("VIEWER")?.headers ?? {};
    const response = await attacker.fetch(path, { ...init, headers: { ...viewer, ...init.headers } });
    expect([400, 403, 404, 405, 415]).toContain(response.status);
    expect(await response.text()).not.toContain("@example.com");
  });
});
