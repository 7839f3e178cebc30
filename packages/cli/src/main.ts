#!/usr/bin/env node
import { runCli } from "./run-cli.ts";

// Node's remarks on experimental parts that the sandbox uses are of no use to who types a command.
if (!process.env["MILLRACE_DEBUG"]) process.removeAllListeners("warning");

const interrupt = new AbortController();
process.once("SIGINT", () => {
  process.exitCode = 130;
  interrupt.abort();
});
// `millrace watch | head` closes our output: that is an end, not a fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  interrupt.abort();
});

await runCli(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
  setExitCode: (code) => {
    process.exitCode = code;
  },
});
