import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PluginState } from "@millrace/protocol";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MemoryServer } from "../testing/memory-server.ts";
import { runMillrace } from "../testing/run-millrace.ts";

const manifest = `name: audit
version: "1.0.0"
handlers:
  - type: audit
    export: on_audit_event
limits:
  timeoutMs: 5000
capabilities:
  http: [api.example.com]
  kvBytes: 1024
`;

let server: MemoryServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-plugin-"));
  server = await MemoryServer.start();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

beforeEach(async () => {
  server.plugins.plugins.clear();
  await rm(join(folder, "plugin.sig"), { force: true });
  await writeFile(join(folder, "plugin.yaml"), manifest);
  await writeFile(join(folder, "audit.wasm"), new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
});

const run = (...args: string[]) => runMillrace(["--server", server.url, "plugin", ...args]);
const plugin = () => server.plugins.plugins.get("audit");

it("pushes a folder, lists, calls and removes", async () => {
  const pushed = await run("push", folder, "--disabled");
  expect(pushed).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +resolved/) });
  expect(pushed.stdout).toMatch(/declares +http \(api.example.com\), kv \(1024 bytes\)\ngranted +none; grant with/);
  expect(plugin()).toMatchObject({ sizeBytes: 8n, manifest: { limits: { timeoutMs: 5000 } } });
  expect((await run("enable", "audit")).stdout).toBe("audit 1.0.0 is active\n");
  expect(plugin()?.state).toBe(PluginState.ACTIVE);
  expect((await run("list")).stdout).toMatch(/audit +1\.0\.0 +active +8 .*audit → on_audit_event/);
  expect((await run("call", "audit", "on_audit_event", "hi")).stdout).toMatch(
    /output +hi\nrun time +1\.500 ms\nlog +called/,
  );
  expect(await run("call", "audit", "fails")).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("OUT_OF_FUEL: it works too long (fuel 1,000,001 of 1,000,000 units)"),
  });
  expect((await run("delete", "audit")).code).toBe(0);
  expect((await run("get", "audit")).code).toBe(3);
});

it("grants what is declared, and takes it back", async () => {
  expect((await run("push", folder, "--grant", "http")).stdout).toMatch(/granted +http \(api.example.com\)\n/);
  expect((await run("grant", "audit", "http,kv")).stdout).toMatch(/granted +all/);
  expect((await run("grant", "audit")).stdout).toMatch(/granted +none/);
  expect(await run("grant", "audit", "files")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("not one of"),
  });
});

it("pushes a canary, promotes it, and goes back", async () => {
  await run("push", folder);
  await writeFile(join(folder, "plugin.yaml"), manifest.replace("1.0.0", "1.1.0"));
  expect((await run("push", folder, "--canary", "10", "--canary-min-calls", "7")).stdout).toMatch(
    /canary +1\.1\.0 \(cdcdcdcdcdcd\) gets 10 % of the jobs/,
  );
  expect(server.plugins.uploads.at(-1)).toMatchObject({ canaryPercent: 10, canaryBounds: { minCalls: 7 } });
  expect((await run("promote", "audit")).stdout).toBe("audit 1.1.0 is active\n");
  expect((await run("versions", "audit")).stdout).toMatch(/1\.1\.0 .*\n1\.0\.0 /);
  expect((await run("rollback", "audit")).code).toBe(4);
  expect((await run("push", folder, "--canary", "100")).code).toBe(2);
});

it("shows the log", async () => {
  await run("push", folder);
  expect((await run("logs", "audit", "--for", "1s")).stdout).toContain("info   1.0.0  j1  hello from the plugin");
  expect((await run("logs", "nobody", "--for", "1s")).code).toBe(3);
});

describe("keys and signatures", () => {
  it("makes a key, signs, pushes the signature, trusts and revokes", async () => {
    const key = join(folder, "keys/ada.pem");
    expect((await run("keygen", key)).stdout).toMatch(/key id +[0-9a-f]{16}/);
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    expect(await run("keygen", key)).toMatchObject({ code: 4, stderr: expect.stringContaining("not overwritten") });

    const signed = await run("sign", folder, "--key", key);
    expect(signed.code).toBe(0);
    const keyId = /key id +([0-9a-f]{16})/.exec(signed.stdout)?.[1] ?? "";
    expect((await run("push", folder)).stdout).toMatch(new RegExp(`signed by +key ${keyId}`));
    expect(server.plugins.uploads.at(-1)?.signature?.signature).toHaveLength(64);

    expect((await run("keys", "trust", `${key}.pub`, "--owner", "Ada")).stdout).toBe(`key ${keyId} is trusted\n`);
    expect((await run("keys", "revoke", keyId, "--reason", "stolen")).code).toBe(0);
    expect((await run("keys", "list")).stdout).toMatch(new RegExp(`${keyId} +Ada .*stolen`));
  });

  it("refuses a key that others may read, and a private key where a public one belongs", async () => {
    const key = join(folder, "open.pem");
    await run("keygen", key);
    await chmod(key, 0o644);
    expect(await run("sign", folder, "-k", key)).toMatchObject({
      code: 7,
      stderr: expect.stringContaining("chmod 600"),
    });
    expect(await run("keys", "trust", key)).toMatchObject({ code: 2, stderr: expect.stringContaining("private key") });
    expect(await run("sign", folder, "-k", join(folder, "audit.wasm"))).toMatchObject({ code: 7 });
  });
});

it.each<[string, string, string]>([
  ["an unknown field", `${manifest}colour: red\n`, "colour"],
  ["no YAML", "{", "plugin.yaml"],
  ["a list", "- a\n", "must be a mapping"],
])("says what is wrong with a manifest: %s", async (_, text, words) => {
  await writeFile(join(folder, "plugin.yaml"), text);
  const { code, stderr } = await run("push", folder);
  expect([code, stderr]).toEqual([2, expect.stringContaining(words)]);
});
