import type { Command } from "commander";
import {
  GrantPluginResponseSchema,
  PromotePluginResponseSchema,
  RollbackPluginResponseSchema,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../../cli-context.ts";
import { formatPlugin, formatStanding } from "../../format-plugin.ts";
import { grantNames } from "../../parse-options.ts";

/** `plugin promote|rollback|grant`. */
export function releaseCommands(plugin: Command, context: CliContext): void {
  plugin
    .command("promote")
    .description("let the canary serve everything")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.promotePlugin({ name }, { signal: context.signal });
        output.message(PromotePluginResponseSchema, response, () => formatStanding(response.plugin));
      });
    });

  plugin
    .command("rollback")
    .description("serve the previous version again, or the named one; takes back a canary when there is one")
    .argument("<name>")
    .argument("[version]", "a version, or the start of a module's sha256")
    .addHelpText("after", "\nExample:\n  millrace plugin rollback audit\n  millrace plugin rollback audit 1.2.0")
    .action(async (name: string, version: string | undefined, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const request = { name, version: version ?? "" };
        const response = await client.plugins.rollbackPlugin(request, { signal: context.signal });
        output.message(RollbackPluginResponseSchema, response, () => formatStanding(response.plugin));
      });
    });

  plugin
    .command("grant")
    .description("say what a plugin may do, of what its manifest declares; replaces all grants")
    .argument("<name>")
    .argument("[capabilities...]", "http, kv, secrets, events, jobs, or all; none takes all back", grantNames, [])
    .addHelpText(
      "after",
      "\nExample:\n  millrace plugin grant audit http kv\n  millrace plugin grant audit   # nothing",
    )
    .action(async (name: string, grants: string[], _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.grantPlugin({ name, grants }, { signal: context.signal });
        output.message(GrantPluginResponseSchema, response, () => formatPlugin(response.plugin));
      });
    });
}
