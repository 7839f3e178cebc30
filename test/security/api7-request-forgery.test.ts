/** API7:2023, server side request forgery: nobody makes the system call where they cannot. */
import type { DescField, DescMessage, JsonObject } from "@bufbuild/protobuf";
import {
  AuthService,
  identityServices,
  JobService,
  PluginService,
  services,
  SettingsService,
} from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSource } from "../hostile/assemble.ts";
import { doorNames } from "../lib/doors.ts";
import { tellPuppet, visitsOf } from "../lib/puppet-server.ts";
import { Attacker, bearer, secured, type Person } from "./attacker.ts";

const attacker = new Attacker("api7", 7);
afterAll(() => attacker[Symbol.dispose]());

const { puppetUrl, innerUrl } = secured;
const innerPort = new URL(innerUrl).port;
/** By an operator who grants whatever is asked for: what an address is comes on top. */
const granted = [
  puppetUrl,
  innerUrl,
  `http://localhost:${innerPort}`,
  `http://[::1]:${innerPort}`,
  "http://169.254.169.254",
  "http://10.0.0.1",
];
let publisher: Person;
beforeAll(async () => {
  publisher = await attacker.person("ROLE_PUBLISHER");
  await tellPuppet(puppetUrl, {
    "/hello": { body: "hello" },
    "/to-inner": { status: 302, headers: { location: `${innerUrl}/secret` } },
    "/to-metadata": { status: 307, headers: { location: "http://169.254.169.254/latest/meta-data/" } },
    "/to-file": { status: 302, headers: { location: "file:///etc/passwd" } },
    "/to-itself": { status: 302, headers: { location: `${puppetUrl}/to-inner` } },
  });
  await tellPuppet(innerUrl, { "/secret": { body: "a secret of the inner network" } });
  await attacker.expectOk("POST", "/api/v1/plugins", {
    manifest: {
      name: "api7",
      version: "1.0.0",
      handlers: [{ type: "api7-fetch", export: "fetch" }],
      capabilities: { http: granted },
    },
    module: Buffer.from(await readSource("fetch")).toString("base64"),
    grants: ["all"],
  });
});

describe.each(doorNames)("a job submitted by %s", (name) => {
  const door = attacker.door(name);
  const run = async (url: string) => {
    const payload = { json: { method: "GET", url } };
    const job = { type: "api7-fetch", payload, maxAttempts: 1, waitMs: 10_000 };
    const said = await door(JobService.method.submitJob, job, publisher.headers);
    return said.answer["result"] as { state: string; output?: object; error?: { code: string } };
  };

  it("reaches what its plugin may", async () => {
    expect(await run(`${puppetUrl}/hello`)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", output: { text: "hello" } });
  });

  it.for([
    `${innerUrl}/secret`,
    `http://localhost:${innerPort}/secret`,
    `http://[::1]:${innerPort}/secret`,
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    `${puppetUrl}/to-inner`,
    `${puppetUrl}/to-metadata`,
    `${puppetUrl}/to-file`,
    `${puppetUrl}/to-itself`,
    `http://2130706433:${innerPort}/secret`,
    "file:///etc/passwd",
  ])("does not reach %s", async (url) => {
    expect(await run(url)).toMatchObject({ state: "JOB_STATE_DEAD", error: { code: "HOST_DENIED" } });
    expect(await visitsOf(innerUrl)).toEqual([]);
  });

  it("has a dry run reach nothing at all", async () => {
    const before = (await visitsOf(puppetUrl)).length;
    const call = { name: "api7", export: "fetch", input: { json: { method: "GET", url: `${puppetUrl}/hello` } } };
    const said = await door(PluginService.method.callPlugin, call, bearer(secured.token));
    expect(said.answer).toMatchObject({ error: { code: "HOST_DENIED" } });
    expect((await visitsOf(puppetUrl)).length).toBe(before);
  });

  it("cannot be told where people sign in, nor where they are sent afterwards", async () => {
    const elsewhere = { redirectUri: `${innerUrl}/` };
    expect((await door(AuthService.method.beginOidcLogin, elsewhere)).code).toBe("invalid_argument");
    for (const setting of ["oidcIssuer", "oidcRedirectUris", "pluginHttpPrivate", "databaseUrl", "natsUrl"]) {
      const change = { name: setting, value: innerUrl };
      const said = await door(SettingsService.method.updateSetting, change, bearer(secured.token));
      expect([setting, said.code]).not.toEqual([setting, "ok"]);
    }
  });
});

it("no method but those known here takes an address to call", () => {
  const found: string[] = [];
  const seen = new Set<string>();
  const look = (message: DescMessage): void => {
    if (seen.has(message.typeName)) return;
    seen.add(message.typeName);
    for (const field of message.fields) {
      if (/(^|_)(url|uri|endpoint|host|issuer|callback|webhook|address)s?$/.test(field.name)) found.push(nameOf(field));
      if (field.message !== undefined) look(field.message);
    }
  };
  for (const service of [...services, ...identityServices]) for (const method of service.methods) look(method.input);
  expect(found.toSorted()).toEqual([
    // One of those that the setting names.
    "millrace.identity.v1.BeginOidcLoginRequest.redirect_uri",
    // Paths that a plugin serves.
    "millrace.plugins.v1.PluginManifest.endpoints",
    // A filter of the trail.
    "millrace.system.v1.ListAuditEntriesRequest.address",
  ]);
});

function nameOf({ parent, name }: DescField): string {
  return `${parent.typeName}.${name}`;
}

it("headers of a request decide nothing about where a browser is sent", async () => {
  const init = { method: "POST", headers: { host: "evil.example", "x-forwarded-host": "evil.example" }, body: "{}" };
  const answer = (await (await attacker.fetch("/api/v1/auth/oidc", init)).json()) as JsonObject;
  expect(JSON.stringify(answer)).not.toContain("evil.example");
});
