/**
 * Looks for programs that the rewriter treats wrongly: `node packages/wasm-meter/scripts/fuzz.ts [--seconds N] [--seed S]`.
 * Prints the seed of each failure; exits with 1 when there was one.
 */
import { parseArgs } from "node:util";
import { mutateAndMeter } from "../src/testing/mutate-module.ts";
import { compareRuns } from "../src/testing/compare-runs.ts";
import { encodeProgram } from "../src/testing/encode-program.ts";
import { randomProgram } from "../src/testing/random-program.ts";

const MAX_FAILURES = 10;

const { values } = parseArgs({ options: { seconds: { type: "string" }, seed: { type: "string" } } });
const end = performance.now() + Number(values.seconds ?? 60) * 1000;
let seed = Number(values.seed ?? 1);
const first = seed;
let failures = 0;
const outcomes: Record<string, number> = {};
while (performance.now() < end && failures < MAX_FAILURES) {
  const throws = seed % 3 === 0;
  const program = randomProgram(seed, throws);
  try {
    const problems = compareRuns(program, [seed & 15, seed >> 4], throws);
    for (const outcome of mutateAndMeter(encodeProgram(program), seed))
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (problems.length > 0) throw new Error(problems.join("; "));
  } catch (error) {
    failures++;
    console.log(`seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  seed++;
}
console.log(`${seed - first} programs, ${failures} failures; mutated modules: ${JSON.stringify(outcomes)}`);
if (failures > 0) process.exitCode = 1;
