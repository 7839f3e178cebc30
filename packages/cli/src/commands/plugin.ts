import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { buildCommand } from "./plugin/build.ts";
import { callCommand } from "./plugin/call.ts";
import { devCommand } from "./plugin/dev.ts";
import { keyCommands } from "./plugin/keys.ts";
import { logsCommand } from "./plugin/logs.ts";
import { newCommand } from "./plugin/new.ts";
import { pushCommand } from "./plugin/push.ts";
import { releaseCommands } from "./plugin/release.ts";
import { replayCommand } from "./plugin/replay.ts";
import { showCommands } from "./plugin/show.ts";
import { signCommands } from "./plugin/sign.ts";
import { switchCommands } from "./plugin/switch.ts";
import { testCommand } from "./plugin/test.ts";

/** `plugin …`: what authors and operators do with plugins. */
export function pluginCommands(program: Command, context: CliContext): void {
  const plugin = program.command("plugin").description("write, test, sign and install plugins, and say which serve");
  newCommand(plugin, context);
  buildCommand(plugin, context);
  testCommand(plugin, context);
  devCommand(plugin, context);
  signCommands(plugin, context);
  pushCommand(plugin, context);
  showCommands(plugin, context);
  switchCommands(plugin, context);
  releaseCommands(plugin, context);
  callCommand(plugin, context);
  logsCommand(plugin, context);
  replayCommand(plugin, context);
  keyCommands(plugin, context);
}
