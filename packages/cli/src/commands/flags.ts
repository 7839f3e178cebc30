import { Argument, type Command } from "commander";
import {
  DeleteFlagResponseSchema,
  EvaluateFlagResponseSchema,
  ListFlagsResponseSchema,
  SetFlagResponseSchema,
  type Flag,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { formatTime } from "../format-job.ts";
import { table } from "../output.ts";
import { share } from "../parse-options.ts";

/** `flags list|set|check|delete`. */
export function flagCommands(program: Command, context: CliContext): void {
  const flags = program.command("flags").description("features that are on for a share of users");
  const call = { signal: context.signal };

  flags
    .command("list")
    .description("list flags")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.settings.listFlags({}, call);
        output.message(ListFlagsResponseSchema, response, () => table(response.flags, flagColumns, "no flags"));
      });
    });

  flags
    .command("set")
    .description("make a flag, or change it")
    .argument("<name>")
    .addArgument(new Argument("<state>").choices(["on", "off"]))
    .option("--percent <n>", "on for this share of users, 0 to 100 (default: 100)", share)
    .addHelpText("after", "\nExample:\n  millrace flags set new-page on --percent 10")
    .action(async (name: string, state: string, { percent }: { percent?: number }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const request = { name, enabled: state === "on", ...(percent === undefined ? {} : { percent }) };
        const response = await client.settings.setFlag(request, call);
        output.message(SetFlagResponseSchema, response, () => (response.flag ? flagText(response.flag) : name));
      });
    });

  flags
    .command("check")
    .description("say whether a flag is on for a user")
    .argument("<name>")
    .option("--user <id>", "the user that is asked about (default: whoever asks)")
    .action(async (name: string, { user: userId = "" }: { user?: string }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.settings.evaluateFlag({ name, userId }, call);
        const whom = userId === "" ? "you" : userId;
        output.message(
          EvaluateFlagResponseSchema,
          response,
          () => `${name} is ${response.enabled ? "on" : "off"} for ${whom}`,
        );
      });
    });

  flags
    .command("delete")
    .description("forget a flag; it is off for everybody")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.settings.deleteFlag({ name }, call);
        output.message(DeleteFlagResponseSchema, response, () => `${name} is gone`);
      });
    });
}

function flagText({ name, enabled, percent }: Flag): string {
  return `${name} is ${enabled ? `on for ${percent} % of users` : "off"}`;
}

const flagColumns = [
  { head: "name", cell: ({ name }: Flag) => name },
  { head: "enabled", cell: ({ enabled }: Flag) => (enabled ? "on" : "off") },
  { head: "users", cell: ({ percent }: Flag) => `${percent} %` },
  { head: "changed", cell: ({ updatedAt }: Flag) => formatTime(updatedAt) },
];
