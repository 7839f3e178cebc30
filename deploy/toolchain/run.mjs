// The one way in on a bare machine: plain JavaScript, for any Node >= 20, without dependencies.
//
// Puts pnpm and Node 24 into <repo>/.millrace/toolchain, installs the workspace, and runs the TypeScript entry under that
// Node. Each step is skipped when its result is there, so that the second start costs milliseconds.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ToolchainError, prepareToolchain } from "./prepare-toolchain.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** What each word runs: arguments for Node 24, relative to the repository. */
const entries = {
  start: ["packages/standalone/src/main.ts"],
  demo: ["packages/cli/src/main.ts", "demo"],
  cli: ["packages/cli/src/main.ts"],
  test: ["deploy/toolchain/check.ts"],
  faults: ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.faults.config.ts"],
  checker: ["test/faults/checker/main.ts"],
  hostile: ["node_modules/vitest/vitest.mjs", "run", "test/hostile/hostile.test.ts"],
  siege: ["node_modules/vitest/vitest.mjs", "run", "test/siege/siege.test.ts"],
  fuzz: ["test/fuzz/main.ts"],
  matrix: ["test/matrix/main.ts"],
  bench: ["test/bench/main.ts"],
};

const [word, ...given] = process.argv.slice(2);
// As npm takes it away, so that `npm run millrace -- --help` and this with `cli -- --help` are the same.
const rest = given[0] === "--" ? given.slice(1) : given;
const entry = Object.hasOwn(entries, word ?? "") ? entries[word] : undefined;
if (entry === undefined) {
  console.error(`usage: node deploy/toolchain/run.mjs <${Object.keys(entries).join("|")}> [arguments]`);
  process.exit(2);
}

try {
  const toolchain = await prepareToolchain(root);
  if (!existsSync(path.join(root, entry[0]))) throw new ToolchainError(`${entry[0]} is not part of this checkout.`);
  process.exitCode = await run(toolchain, [path.join(root, entry[0]), ...entry.slice(1), ...rest], word);
} catch (error) {
  if (!(error instanceof ToolchainError)) throw error;
  console.error(`millrace: ${error.message}`);
  process.exitCode = 1;
}

/** Runs Node 24 as a child, passes signals on, and answers with its exit code. */
function run({ node, binDir }, args, word) {
  // The commands work on the caller's files; everything else belongs to the repository.
  const cwd = word === "cli" ? (process.env.INIT_CWD ?? process.cwd()) : root;
  const child = spawn(node, args, {
    cwd,
    stdio: "inherit",
    env: {
      // What Node has compiled is kept for the next start (https://nodejs.org/api/module.html#module-compile-cache): a
      // command answers in a little more than half the time.
      NODE_COMPILE_CACHE: path.join(root, ".millrace/compile-cache"),
      ...process.env,
      PATH: [...binDir, process.env.PATH].join(path.delimiter),
    },
  });
  const forward = (signal) => {
    // Ctrl-C reaches the whole foreground group: the child has it already, and a second one would mean "at once".
    if (signal === "SIGINT" && process.stdin.isTTY) return;
    child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, forward);
  const orphaned = process.env.npm_lifecycle_event && whenParentIsGone(() => child.kill("SIGTERM"));
  return new Promise((resolve, reject) => {
    child.once("error", (cause) => reject(new ToolchainError(`${node} does not start: ${cause.message}`)));
    child.once("exit", (code, signal) => {
      clearInterval(orphaned);
      for (const name of signals) process.off(name, forward);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/** A signal to npm ends the shell that npm put in between, and never reaches this process: being orphaned is the news. */
function whenParentIsGone(stop) {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, 250);
  return timer;
}
