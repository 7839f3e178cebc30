import type { Command } from "commander";
import { DisablePluginResponseSchema, EnablePluginResponseSchema } from "@millrace/protocol";
import { withSession, type CliContext } from "../../cli-context.ts";
import { formatStanding } from "../../format-plugin.ts";

/** `plugin enable|disable|delete`. */
export function switchCommands(plugin: Command, context: CliContext): void {
  plugin
    .command("enable")
    .description("let a plugin serve")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.enablePlugin({ name }, { signal: context.signal });
        output.message(EnablePluginResponseSchema, response, () => formatStanding(response.plugin));
      });
    });

  plugin
    .command("disable")
    .description("let jobs of its types wait; calls that run come to their end")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.disablePlugin({ name }, { signal: context.signal });
        output.message(DisablePluginResponseSchema, response, () => formatStanding(response.plugin));
      });
    });

  plugin
    .command("delete")
    .description("remove a plugin; jobs of its types become dead letters")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        await client.plugins.deletePlugin({ name }, { signal: context.signal });
        output.document({ name, deleted: true }, () => `${name} is deleted`);
      });
    });
}
