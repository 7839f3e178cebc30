import { Command } from "commander";
import { version } from "@millrace/protocol";
import type { CliContext } from "./cli-context.ts";
import { auditCommands } from "./commands/audit.ts";
import { certsCommand } from "./commands/certs.ts";
import { demoCommand } from "./commands/demo.ts";
import { eventCommands } from "./commands/events.ts";
import { infoCommand } from "./commands/info.ts";
import { jobCommands } from "./commands/jobs.ts";
import { loginCommands } from "./commands/login.ts";
import { natsCommands } from "./commands/nats.ts";
import { passwordCommands } from "./commands/password.ts";
import { pluginCommands } from "./commands/plugin.ts";
import { queueCommands } from "./commands/queues.ts";
import { flagCommands } from "./commands/flags.ts";
import { registerCommand } from "./commands/register.ts";
import { repairCommand } from "./commands/repair.ts";
import { settingCommands } from "./commands/settings.ts";
import { submitCommand } from "./commands/submit.ts";
import { tokenCommands } from "./commands/tokens.ts";
import { upgradeCommand } from "./commands/upgrade.ts";
import { userCommands } from "./commands/users.ts";
import { wasmCommands } from "./commands/wasm.ts";
import { exitCodeHelp } from "./exit-codes.ts";

/** The whole command line. Nothing in it ends the process: errors are thrown, codes are set. */
export function createProgram(context: CliContext): Command {
  const program = new Command("millrace")
    .description("submit, see and steer jobs and plugins")
    .version(version)
    .option("--server <url>", "the server (MILLRACE_URL; default: the one that runs on this machine)")
    .option("--json", "print JSON for programs")
    .addHelpText("after", exitCodeHelp)
    // Options of the program may stand after the command as well.
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
    });
  submitCommand(program, context);
  jobCommands(program, context);
  queueCommands(program, context);
  pluginCommands(program, context);
  eventCommands(program, context);
  loginCommands(program, context);
  registerCommand(program, context);
  passwordCommands(program, context);
  userCommands(program, context);
  tokenCommands(program, context);
  auditCommands(program, context);
  settingCommands(program, context);
  flagCommands(program, context);
  wasmCommands(program, context);
  infoCommand(program, context);
  repairCommand(program, context);
  certsCommand(program, context);
  natsCommands(program, context);
  upgradeCommand(program, context);
  demoCommand(program, context);
  pointToHelp(program, "millrace");
  return program;
}

/** What is used wrongly names its own help. */
function pointToHelp(command: Command, words: string): void {
  command.showHelpAfterError(`(see ${words} --help)`);
  for (const below of command.commands) pointToHelp(below, `${words} ${below.name()}`);
}
