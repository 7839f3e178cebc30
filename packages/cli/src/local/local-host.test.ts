import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capabilitiesOf, type LoadedPlugin } from "@millrace/plugin-host";
import type { PluginManifest } from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readPluginPackage } from "../read-plugin-package.ts";
import { loadLocalPlugin } from "./load-local-plugin.ts";
import { runPluginTest, type TestRun } from "./run-plugin-test.ts";
import { readTests } from "./test-file.ts";

/** A module that asks for everything. */
const asking = join(import.meta.dirname, "../../../plugin-host/fixtures/asking/asking.wasm");
const manifestText = `name: asking
version: "1.0.0"
handlers: [{ type: keep, export: keep }]
capabilities:
  http: ["api.example.com"]
  kvBytes: 256
  secrets: [TOKEN]
  events: ["user.*"]
  jobs: [send_email]
`;

let folder: string;
let plugin: LoadedPlugin;
let manifest: PluginManifest;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-local-"));
  await mkdir(join(folder, "tests"));
  await writeFile(join(folder, "plugin.yaml"), manifestText);
  await copyFile(asking, join(folder, "asking.wasm"));
  const read = await readPluginPackage(folder);
  manifest = read.manifest;
  plugin = await loadLocalPlugin(manifest, read.module, manifest.capabilities);
});

afterAll(() => rm(folder, { recursive: true }));

async function run(test: object): Promise<TestRun> {
  await writeFile(join(folder, "tests/one.json"), JSON.stringify(test));
  const [file] = await readTests(folder);
  if (file === undefined) throw new Error("the test is gone");
  return runPluginTest(plugin, capabilitiesOf(manifest.capabilities), file);
}

it.each<[string, object]>([
  ["context", { export: "context", expect: { output: "test-one 1/1 0.0 [] test test " } }],
  ["state", { export: "keep", expect: { output: 'set v ["k"] deleted none' } }],
  ["state before the call", { export: "wait", input: "ab", kv: { ab: "1" }, expect: { output: "ab" } }],
  ["a secret", { export: "secret", input: "TOKEN", secrets: { TOKEN: "sesame" }, expect: { output: "sesame" } }],
  [
    "an answer by HTTP",
    {
      export: "fetch",
      input: "https://api.example.com/rate",
      http: [{ method: "POST", url: "https://api.example.com/rate", status: 201, body: { rate: 2 } }],
      expect: { output: '201  {"rate":2}' },
    },
  ],
  [
    "an event",
    {
      export: "publish",
      input: '{"user":"ada"}',
      expect: { output: "event-1", events: [{ name: "user.login", data: { user: "ada" } }], jobs: [] },
    },
  ],
  [
    "a job",
    { export: "submit", input: "hello", expect: { output: "job-1", jobs: [{ type: "send_email", payload: "hello" }] } },
  ],
])("answers what a plugin asks: %s", async (_, test) => {
  expect((await run(test)).problems).toEqual([]);
});

it("lets a plugin handle what the world does not have, and ends the call where nothing is declared", async () => {
  const unknown = await run({ export: "fetch", input: "https://api.example.com/none", expect: {} });
  expect(unknown.actual.output).toMatch(/^no answer: .*the test has no answer for POST/);
  const secret = await run({ export: "secret", input: "OTHER", expect: {} });
  expect(secret.actual.error).toMatchObject({ code: "HOST_DENIED", message: expect.stringContaining("not declared") });
  const absent = await run({ export: "secret", input: "TOKEN", expect: {} });
  expect(absent.actual.error?.code).toBe("HANDLER_FAILED");
  const flood = await run({ export: "flood", expect: {} });
  expect(flood.actual.error).toMatchObject({ code: "HOST_DENIED", message: expect.stringContaining("of 1,000 calls") });
});

it("says what was sent besides", async () => {
  const { problems } = await run({ export: "publish", input: '{"a":1}', expect: { output: "event-1", events: [] } });
  expect(problems).toEqual([
    expect.stringContaining('events differs\n  expected []\n  actual   [{"name":"user.login"'),
  ]);
});
