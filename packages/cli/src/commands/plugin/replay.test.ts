import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { RecordingSchema } from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadLocalPlugin } from "../../local/load-local-plugin.ts";
import { readPluginPackage } from "../../read-plugin-package.ts";
import { MemoryServer } from "../../testing/memory-server.ts";
import { runMillrace } from "../../testing/run-millrace.ts";

const plugins = join(import.meta.dirname, "../../../../../plugins");
const flights = join(plugins, "flights");
let server: MemoryServer;
let folder: string;

beforeAll(async () => {
  server = await MemoryServer.start();
  folder = await mkdtemp(join(tmpdir(), "millrace-replay-"));
  const { manifest, module, sha256 } = await readPluginPackage(flights);
  const plugin = await loadLocalPlugin(manifest, module, undefined);
  const input = new TextEncoder().encode('{"date":"never"}');
  const failed = await plugin.call("clean_flight", input, { record: true });
  if (failed.ok) throw new Error("the flight should be refused");
  const recorded = {
    manifest,
    sha256,
    export: "clean_flight",
    input,
    answers: [...(failed.recording?.answers ?? [])],
    error: { code: failed.code, message: failed.message },
    fuel: BigInt(failed.fuel),
  };
  server.plugins.recordings.set("j1", create(RecordingSchema, recorded));
  server.plugins.recordings.set("slow", create(RecordingSchema, { ...recorded, error: { code: "TIMED_OUT" } }));
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const replay = (...args: string[]) => runMillrace(["--server", server.url, "plugin", "replay", ...args]);

it("shows the same error with the same fuel", async () => {
  const { code, stdout } = await replay("j1", flights);
  expect([code, stdout]).toEqual([0, expect.stringContaining("verdict   the same, bit for bit")]);
  expect(stdout).toMatch(/recorded +HANDLER_FAILED: .*date.*fuel (\d+)\nreplayed +HANDLER_FAILED: .*date.*fuel \1\n/);
  const json = await replay("j1", flights, "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({ ok: true, sameModule: true });
});

it("says that another module runs, and how that ends", async () => {
  await copyFile(join(flights, "plugin.yaml"), join(folder, "plugin.yaml"));
  // A custom section at the end changes the file and nothing that it does.
  const module = Buffer.concat([await readFile(join(flights, "flights.wasm")), Buffer.from([0, 2, 1, 120])]);
  await writeFile(join(folder, "flights.wasm"), module);
  const { code, stdout } = await replay("j1", folder);
  expect([code, stdout]).toEqual([1, expect.stringContaining("another module than the one that failed; it fails")]);
});

it("does not claim to replay time, and says when nothing was recorded", async () => {
  const slow = await replay("slow", flights);
  expect([slow.code, slow.stdout]).toEqual([1, expect.stringContaining("neither clock nor neighbours")]);
  expect((await replay("none", flights)).code).toBe(3);
});
