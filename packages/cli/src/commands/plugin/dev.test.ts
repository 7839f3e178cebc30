import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createProject } from "../../project/create-project.ts";
import { runCli } from "../../run-cli.ts";
import { MemoryServer } from "../../testing/memory-server.ts";

let server: MemoryServer;
let root: string;

beforeAll(async () => {
  server = await MemoryServer.start();
  root = await mkdtemp(join(tmpdir(), "millrace-dev-"));
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(root, { recursive: true });
});

it("builds and pushes at every save, keeps what serves when a build fails, and shows the log", async () => {
  const folder = join(root, "counter");
  await createProject({ name: "counter", language: "assemblyscript", folder });
  // Compiling well takes seconds, three times.
  const config = join(folder, "asconfig.json");
  await writeFile(config, (await readFile(config, "utf8")).replace('"optimizeLevel": 3', '"optimizeLevel": 0'));
  const source = join(folder, "assembly/index.ts");
  const good = await readFile(source, "utf8");
  const interrupt = new AbortController();
  const stdout = new PassThrough();
  const lines: Record<string, unknown>[] = [];
  const waiting: { kind: string; resolve: () => void }[] = [];
  const next = (kind: string) => new Promise<void>((resolve) => waiting.push({ kind, resolve }));
  stdout.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split("\n")) {
      const value = JSON.parse(line) as Record<string, unknown>;
      lines.push(value);
      for (const one of waiting.filter(({ kind }) => kind === value["kind"])) {
        waiting.splice(waiting.indexOf(one), 1);
        one.resolve();
      }
    }
  });
  const stderr = new PassThrough();
  const said = text(stderr);

  const first = Promise.all([next("pushed"), next("log")]);
  const running = runCli(["--server", server.url, "plugin", "dev", folder, "--json"], {
    env: {},
    stdin: new PassThrough(),
    stdout,
    stderr,
    signal: interrupt.signal,
    setExitCode: () => undefined,
  });
  await first;
  const failed = next("failed");
  await writeFile(source, `${good}\nthis is no source`);
  await failed;
  const second = next("pushed");
  await writeFile(source, `${good}\n// mended`);
  await second;
  interrupt.abort();
  await running;
  stderr.end();

  expect(await said).toBe("");
  expect(server.plugins.uploads.map(({ manifest }) => manifest?.version)).toEqual(["0.1.0-dev.1", "0.1.0-dev.2"]);
  expect(server.plugins.uploads[0]?.grants).toEqual(["all"]);
  const failure = lines.find(({ kind }) => kind === "failed");
  expect(failure).toMatchObject({ code: "failed_precondition", message: expect.stringContaining("ERROR") });
  expect(lines).toContainEqual(expect.objectContaining({ kind: "log", level: "info", text: "hello from the plugin" }));
}, 120_000);
