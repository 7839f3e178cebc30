import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";

export function demoCommand(program: Command, context: CliContext): void {
  void program;
  void context;
}
