import { spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runMillrace } from "../../testing/run-millrace.ts";

const plugins = join(import.meta.dirname, "../../../../../plugins");
let root: string;
let folder: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-author-"));
});

afterAll(() => rm(root, { recursive: true }));

const run = (...args: string[]) => runMillrace(["plugin", ...args]);

describe("new", () => {
  it("writes a project, and never over another", async () => {
    const target = join(root, "made");
    const made = await run("new", "word-count", "--language", "rust", "--folder", target);
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining("millrace plugin build") });
    expect(await readFile(join(target, "plugin.yaml"), "utf8")).toContain('name: "word-count"');
    expect(await readFile(join(target, "README.md"), "utf8")).toContain("src/lib.rs → word-count.wasm");
    expect(await run("new", "word-count", "--folder", target)).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("not overwritten"),
    });
    expect(await run("new", "Word Count")).toMatchObject({ code: 2, stderr: expect.stringContaining("a-z, 0-9") });
  });
});

/** Whether this machine can build it. */
function installed(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

const compilers: readonly (readonly [language: string, found: boolean])[] = [
  ["assemblyscript", true],
  ["c", installed("clang", "--version") && installed("wasm-ld", "--version")],
  ["rust", process.env["RUSTC"] !== undefined],
];

describe.each(compilers)("a new project in %s", (language, found) => {
  it.runIf(found)("builds, and passes its tests as it stands", { timeout: 60_000 }, async () => {
    const target = join(root, language);
    expect((await run("new", "counter", "--language", language, "--folder", target)).code).toBe(0);
    const env = { RUSTC: process.env["RUSTC"] ?? "" };
    const built = await runMillrace(["plugin", "build", target], { env });
    expect(built).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/counter\.wasm: \d+ bytes, \d+ ms/),
      stderr: "",
    });
    const tested = await run("test", target);
    expect(tested).toMatchObject({ code: 0, stdout: expect.stringContaining("2 passed, 0 failed"), stderr: "" });
  });
});

describe("build", () => {
  it("says which compiler is missing, and what it takes", async () => {
    const target = join(root, "unbuilt");
    await run("new", "unbuilt", "--language", "rust", "--folder", target);
    const built = await runMillrace(["plugin", "build", target], { env: { RUSTC: "no-such-rustc" } });
    expect([built.code, built.stderr]).toEqual([4, expect.stringContaining("no-such-rustc is not installed; install")]);
    expect(await run("build", join(plugins, "lib"))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("assembly/index.ts"),
    });
  });
});

describe("test", () => {
  beforeEach(async () => {
    folder = await mkdtemp(join(root, "redact-"));
    await mkdir(join(folder, "tests"));
    await copyFile(join(plugins, "redact/plugin.yaml"), join(folder, "plugin.yaml"));
    await copyFile(join(plugins, "redact/redact.wasm"), join(folder, "redact.wasm"));
  });

  const write = (name: string, test: object) => writeFile(join(folder, "tests", `${name}.json`), JSON.stringify(test));

  it("passes, and tells fuel, time and memory", async () => {
    await write("mail", { export: "redact", input: "to ada@example.com", expect: { output: "to [email]" } });
    const { code, stdout } = await run("test", folder);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/mail +redact +ok +\d+ +\d+\.\d+ +[1-9]\d*\n/)]);
    expect(stdout).toMatch(/memory: [1-9]\d* pages of 64 KiB at most; it starts with [1-9]\d*, and may have \d+/);
    const json = await run("test", folder, "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ passed: 1, tests: [{ name: "mail", fuel: expect.any(Number) }] });
  });

  it("fails with what was expected and what came, and writes it down when asked", async () => {
    await write("wrong", { export: "redact", input: "ada@example.com", expect: { output: "nothing" } });
    await write("fresh", { export: "redact", input: { mail: "ada@example.com" } });
    const failed = await run("test", folder);
    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain('expected "nothing"\n    actual   "[email]"');
    expect(failed.stdout).toContain("--update writes down");
    expect(failed.stdout).toContain("0 passed, 2 failed");
    expect((await run("test", folder, "--update")).code).toBe(0);
    expect((await run("test", folder)).code).toBe(0);
    const fresh: unknown = JSON.parse(await readFile(join(folder, "tests/fresh.json"), "utf8"));
    expect(fresh).toMatchObject({ input: { mail: "ada@example.com" }, expect: { output: { mail: "[email]" } } });
  });

  it("runs under the limits of the manifest, and shows the figure and the limit", async () => {
    const manifest = await readFile(join(folder, "plugin.yaml"), "utf8");
    await writeFile(join(folder, "plugin.yaml"), manifest.replace("limits:", "limits:\n  fuel: 100"));
    await write("tight", { export: "redact", input: "a".repeat(1000), expect: { output: "" } });
    const { code, stdout } = await run("test", folder);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/OUT_OF_FUEL: .*of 100 units/)]);
  });

  it("says what is wrong with a test, with the module, and that there is none", async () => {
    expect(await run("test", folder)).toMatchObject({ code: 2, stderr: expect.stringContaining("holds no .json") });
    await write("odd", { export: "redact", colour: "red" });
    expect(await run("test", folder)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("colour is not a field"),
    });
    const manifest = await readFile(join(folder, "plugin.yaml"), "utf8");
    await writeFile(join(folder, "plugin.yaml"), manifest.replace("export: redact", "export: nothing"));
    await write("odd", { export: "redact" });
    expect(await run("test", folder)).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('no function "nothing"'),
    });
  });
});
