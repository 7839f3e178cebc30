import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const program = fileURLToPath(new URL("testing/fuel-figures.ts", import.meta.url));
const deno = path.join(path.dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
const workloads = fileURLToPath(new URL("../../../test/bench/wasm/", import.meta.url));
const compiled = [
  "c.wasm:sha256 c.wasm:vm c.wasm:regex c.wasm:compression rust.wasm:sort rust.wasm:json rust.wasm:words",
  "assemblyscript.wasm:bodies assemblyscript.wasm:recursion",
].flatMap((line) => line.split(" ").map((workload) => `${path.join(workloads, workload)}:1`));

async function figures(command: string, ...args: string[]): Promise<string[]> {
  const { stdout } = await run(command, [...args, program, ...compiled]);
  return JSON.parse(stdout) as string[];
}

it("costs the same on Node, on Node's baseline compiler and on Deno", async () => {
  const [node, baseline, onDeno] = await Promise.all([
    figures(process.execPath),
    figures(process.execPath, "--liftoff-only"),
    figures(deno, "run", "-A", "--node-modules-dir=manual"),
  ]);
  expect(node.filter((figure) => / for [1-9]/.test(figure)).length).toBeGreaterThan(200);
  expect(baseline).toEqual(node);
  expect(onDeno).toEqual(node);
});
