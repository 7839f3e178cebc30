#!/usr/bin/env node
import { exitCodes } from "./exit-codes.ts";
import { runCli } from "./run-cli.ts";

// Node's remarks on experimental parts that the sandbox uses are of no use to who types a command.
if (!process.env["MILLRACE_DEBUG"]) process.removeAllListeners("warning");

const interrupt = new AbortController();
process.once("SIGINT", () => {
  process.exitCode = 130;
  interrupt.abort();
});
let isCut = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // `millrace watch | head` closes our output: that is an end, not a fault.
  if (error.code !== "EPIPE" && !isCut) {
    isCut = true;
    process.exitCode = exitCodes.internal;
    process.stderr.write(`millrace: the output cannot be written: ${error.message}\n`);
  }
  interrupt.abort();
});

await runCli(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
  setExitCode: (code) => {
    if (!isCut) process.exitCode = code;
  },
});
