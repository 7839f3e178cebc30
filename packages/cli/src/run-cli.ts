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
    context.stderr.write(args.includes("--json") ? errorJson(error) : errorText(error));
  }
}

function errorText(error: unknown): string {
  if (!(error instanceof MillraceError))
    return `millrace: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
  const lines = [`millrace: ${error.message}`];
  for (const { field, reason } of error.details) {
    // The server's words name the fields already, as a rule.
    if (!error.message.includes(reason)) lines.push(`  ${field}: ${reason}`);
  }
  if (error.code === "unavailable" && error.message.startsWith("cannot reach")) {
    lines.push("Is it running? Start it with `npm start`, or name another one with --server or MILLRACE_URL.");
  }
  if (error.retryAfterMs !== undefined) lines.push(`Try again in ${Math.ceil(error.retryAfterMs / 1000)} s.`);
  return `${lines.map((line) => printable(line)).join("\n")}\n`;
}

function errorJson(error: unknown): string {
  const { code, message, details } =
    error instanceof MillraceError ? error : { code: "internal", message: String(error), details: [] };
  return `${JSON.stringify({ error: { code, message, details } })}\n`;
}
