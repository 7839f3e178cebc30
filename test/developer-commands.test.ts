/** What developers run says how it is used, and ends without a stack trace where it is used wrongly. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { version } from "@millrace/protocol";
import { expect, it } from "vitest";

const run = fileURLToPath(new URL("../deploy/toolchain/run.mjs", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): Promise<Ended> {
  const { promise, resolve, reject } = Promise.withResolvers<Ended>();
  const child = spawn(process.execPath, [run, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk: Buffer) => (said[name] += chunk.toString()));
  }
  child.once("error", reject);
  child.once("close", (code) => resolve({ code, ...said }));
  return promise;
}

it.each([
  ["checker", "--kills"],
  ["matrix", "--database"],
  ["fuzz", "--requests"],
  ["bench", "--only"],
])("%s --help prints the usage, and what is wrong is named above it", { timeout: 120_000 }, async (command, option) => {
  const help = await start(command, "--", "--help");
  expect([help.code, help.stderr]).toEqual([0, ""]);
  expect(help.stdout).toMatch(/^usage: npm run .*/);
  expect(help.stdout).toContain(`\n  ${option} `);
  const unknown = await start(command, "--nonsense");
  expect([unknown.code, unknown.stdout]).toEqual([2, ""]);
  expect(unknown.stderr).toBe(`Unknown option '--nonsense'\n${help.stdout}`);
  const wrong = await start(command, option, "nonsense");
  expect([wrong.code, wrong.stdout]).toEqual([2, ""]);
  expect(wrong.stderr.split("\n")[0]).toContain(option === "--only" ? "nonsense" : option);
  expect(wrong.stderr).toContain(help.stdout);
});

it("the command line answers --help and --version, with and without npm's --", { timeout: 60_000 }, async () => {
  for (const between of [[], ["--"]]) {
    expect(await start("cli", ...between, "--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    const help = await start("cli", ...between, "--help");
    expect([help.code, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toMatch(/^Usage: millrace /);
  }
});
