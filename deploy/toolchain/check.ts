/** The whole check, in the order of what is quickest to tell: format, lint, types, generated files, tests. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { readTestReport } from "./test-report.ts";

const root = path.resolve(import.meta.dirname, "../..");
const report = path.join(root, ".millrace", "check", "vitest.json");

interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Shows its output as it comes; the others show it only when they fail. */
  readonly live?: boolean;
}

const tool = (name: string): string =>
  path.join(root, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);

/** A step whose script a checkout may lack, such as one made from a release archive. */
const ifPresent = (name: string, script: string): Step[] =>
  existsSync(path.join(root, script)) ? [{ name, command: [process.execPath, script, "--check"] }] : [];

const steps: Step[] = [
  { name: "format", command: [tool("oxfmt"), "--check"] },
  { name: "lint", command: [tool("oxlint")] },
  { name: "types", command: [tool("tsc"), "--noEmit", "-p", "tsconfig.json"] },
  ...ifPresent("generated code", "packages/protocol/scripts/generate.ts"),
  ...ifPresent("plugin builds", "plugins/build.ts"),
];

const vitest: Step = {
  name: "tests",
  command: [
    process.execPath,
    path.join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  live: true,
};

let passed = 0;
let failed = 0;
for (const step of steps) {
  if (await run(step)) passed += 1;
  else failed += 1;
}

mkdirSync(path.dirname(report), { recursive: true });
rmSync(report, { force: true });
const succeeded = await run(vitest);
const tests = await readTestReport(report);
passed += tests.passed;
failed += tests.failed;
if (tests.skipped > 0) console.log(`${tests.skipped} tests were skipped`);
if (tests.passed + tests.failed === 0) {
  console.log("no test ran");
  failed += 1;
} else if (!succeeded && tests.failed === 0) {
  // A file that does not load, an error outside of a test, a crash: vitest fails without a failed test.
  failed += 1;
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs one step to its end and prints its verdict and duration; true when it succeeded. */
async function run({ name, command: [file, ...args], live = false }: Step): Promise<boolean> {
  const started = performance.now();
  const child = spawn(file, args, {
    cwd: root,
    shell: file.endsWith(".cmd"),
    stdio: ["ignore", live ? "inherit" : "pipe", live ? "inherit" : "pipe"],
    env: { ...process.env, NODE_ENV: "test" },
  });
  const stop = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => void output.push(text));
  }
  const { promise, resolve } = Promise.withResolvers<boolean>();
  child.once("error", (error) => {
    output.push(error.message);
    resolve(false);
  });
  child.once("close", (code) => resolve(code === 0));
  const ok = await promise;
  process.off("SIGINT", stop).off("SIGTERM", stop);
  if (!ok) process.stdout.write(output.join(""));
  console.log(`${ok ? "ok    " : "FAILED"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  return ok;
}
