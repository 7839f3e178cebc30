import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runMillrace } from "../testing/run-millrace.ts";

const redact = join(import.meta.dirname, "../../../../plugins/redact/redact.wasm");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-wasm-"));
});

afterAll(() => rm(folder, { recursive: true }));

it("inspects a module", async () => {
  const { code, stdout } = await runMillrace(["wasm", "inspect", redact]);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/memory +2 pages/)]);
  expect(stdout).toMatch(/redact +function +\(\) -> \(i32\)/);
  const { stdout: json } = await runMillrace(["wasm", "inspect", redact, "--json"]);
  expect(JSON.parse(json)).toMatchObject({ memory: { min: 2 }, state: { restorable: true } });
});

it("meters a module into a file", async () => {
  const path = join(folder, "out/redact.wasm");
  const { code, stdout } = await runMillrace(["wasm", "meter", redact, "-o", path, "--memory-pages", "8"]);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/memory 0 +unbounded +8/)]);
  expect(WebAssembly.validate(await readFile(path))).toBe(true);
});

it("says which rule refuses a module, and where", async () => {
  const path = join(folder, "broken.wasm");
  await writeFile(path, new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 99]));
  const { code, stderr } = await runMillrace(["wasm", "inspect", path]);
  expect([code, stderr]).toEqual([4, expect.stringMatching(/refused: INVALID, .* section at byte \d+/)]);
  expect(JSON.parse((await runMillrace(["wasm", "inspect", path, "--json"])).stderr)).toMatchObject({
    error: { code: "failed_precondition", details: [{ field: "code", reason: "INVALID" }, {}, {}, {}] },
  });
  const tight = await runMillrace(["wasm", "meter", redact, "--memory-pages", "1"]);
  expect([tight.code, tight.stderr]).toEqual([4, expect.stringContaining("starts with 2 pages; the limit is 1")]);
});
