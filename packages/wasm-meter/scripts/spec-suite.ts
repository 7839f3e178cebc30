/**
 * Runs the WebAssembly specification's tests against the rewriter: `node packages/wasm-meter/scripts/spec-suite.ts <folder>`,
 * where the folder is a checkout of the `testsuite` repository of the WebAssembly organisation. Every module that wabt can
 * parse and the engine accepts is run as it is and metered; every call must end the same way.
 */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseScript, type Node } from "./s-expressions.ts";
import { SpecWorld } from "./spec-world.ts";

const folder = process.argv[2];
if (folder === undefined) throw new Error("usage: spec-suite.ts <folder>");
const totals = { files: 0, modules: 0, refused: 0, calls: 0, different: 0 };
for (const file of globSync("**/*.wast", { cwd: folder }).toSorted()) {
  const world = await SpecWorld.create();
  for (const command of commandsOf(readFileSync(path.join(folder, file), "utf8"))) world.run(command);
  totals.files++;
  totals.modules += world.modules;
  totals.refused += world.refusals.length;
  totals.calls += world.calls;
  totals.different += world.differences.length;
  if (process.argv.includes("--verbose"))
    for (const refusal of world.refusals) console.log(`${file}: refused: ${refusal}`);
  for (const difference of world.differences) console.log(`${file}: ${difference}`);
}
console.log(JSON.stringify(totals));
if (totals.different > 0 || totals.calls === 0) process.exitCode = 1;

function commandsOf(text: string): Node[] {
  try {
    return parseScript(text);
  } catch (error) {
    console.log(String(error));
    return [];
  }
}
