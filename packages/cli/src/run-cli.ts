import { CommanderError } from "commander";
import { MillraceError } from "@millrace/protocol";
import type { CliContext } from "./cli-context.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { printable } from "./format-table.ts";
import { createProgram } from "./program.ts";

/** Runs one command line to its end. @param args without the program's own name */
export async function runCli(args: readonly string[], context: CliContext): Promise<void> {
  try {
    await createProgram(context).parseAsync(args, { from: "user" });
  } catch (error) {
    context.setExitCode(exitCodeOf(error));
    // Commander has said it already.
    if (error instanceof CommanderError) return;
    if (context.signal.aborted) return;
    context.stderr.write(args.includes("--json") ? errorJson(error) : errorText(error, context.env));
  }
}

function errorText(error: unknown, env: CliContext["env"]): string {
  if (!(error instanceof MillraceError)) {
    if (env["MILLRACE_DEBUG"] && error instanceof Error && error.stack !== undefined) return `${error.stack}\n`;
    const why = error instanceof Error ? error.message : String(error);
    return `millrace: this is a fault of the command: ${why}\nMILLRACE_DEBUG=1 shows where.\n`;
  }
  const lines = [`millrace: ${error.message}`];
  for (const { field, reason } of error.details) {
    // The server's words name the fields already, as a rule.
    if (!error.message.includes(reason)) lines.push(`  ${field}: ${reason}`);
  }
  if (error.code === "unavailable" && error.message.includes("nothing listens there")) {
    lines.push("Is it running? Start it with `npm start`, or name another one with --server or MILLRACE_URL.");
  }
  if (error.retryAfterMs !== undefined) lines.push(`Try again in ${Math.ceil(error.retryAfterMs / 1000)} s.`);
  return `${lines.map((line) => printable(line, true)).join("\n")}\n`;
}

function errorJson(error: unknown): string {
  const { code, message, details } =
    error instanceof MillraceError ? error : { code: "internal", message: String(error), details: [] };
  return `${JSON.stringify({ error: { code, message, details } })}\n`;
}
