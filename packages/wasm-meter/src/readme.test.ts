import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { fuelCosts, instructionFuel } from "./fuel-costs.ts";
import { op } from "./opcodes.ts";
import { compileWat } from "./testing/compile-wat.ts";

const run = promisify(execFile);
const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");

it("has an example that works as it says", async () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const index = pathToFileURL(path.join(import.meta.dirname, "index.ts")).href;
  const folder = await mkdtemp(path.join(tmpdir(), "wasm-meter-"));
  try {
    const program = path.join(folder, "example.mts");
    await writeFile(program, example.replace("@millrace/wasm-meter", index));
    await writeFile(path.join(folder, "loop.wasm"), compileWat(`(module (func (export "run") (loop $l (br $l))))`));
    const { stdout } = await run(process.execPath, [program, path.join(folder, "loop.wasm")]);
    const promised = /last line prints `(.*?)`/.exec(readme)?.[1];
    expect(stdout.trim().split("\n").at(-1)).toBe(promised);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it("has the costs that are charged", () => {
  const costs = new Map(
    [...readme.matchAll(/^\| (.+) \| ([\d,]+).*\|$/gm)].map(([, what = "", fuel = ""]) => [
      what,
      Number(fuel.replaceAll(",", "")),
    ]),
  );
  const costOf = (start: string): number | undefined => [...costs].find(([what]) => what.startsWith(start))?.[1];
  expect(costOf("`call`")).toBe(instructionFuel[op.call]);
  expect(costOf("`call_indirect`")).toBe(instructionFuel[op.callIndirect]);
  expect(costOf("`local.get`")).toBe(instructionFuel[op.localGet]);
  expect(costOf("`throw`")).toBe(instructionFuel[op.throw]);
  expect(costOf("`memory.copy`")).toBe(fuelCosts.bulk);
  expect(costOf("`table.copy`")).toBe(fuelCosts.tableBulk);
  expect(costOf("`memory.grow`")).toBe(1 + fuelCosts.memoryGrow);
  expect(costOf("`table.grow`")).toBe(1 + fuelCosts.tableGrow);
  expect(costOf("a call of an imported")).toBe(fuelCosts.hostCall);
});
