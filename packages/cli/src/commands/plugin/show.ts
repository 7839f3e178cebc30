import type { Command } from "commander";
import {
  GetPluginResponseSchema,
  ListPluginsResponseSchema,
  ListPluginVersionsResponseSchema,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../../cli-context.ts";
import { formatPlugin, pluginColumns, versionColumns } from "../../format-plugin.ts";
import { table } from "../../output.ts";

/** `plugin list|get|versions`. */
export function showCommands(plugin: Command, context: CliContext): void {
  plugin
    .command("list")
    .description("list the plugins")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.listPlugins({}, { signal: context.signal });
        output.message(ListPluginsResponseSchema, response, () => table(response.plugins, pluginColumns, "no plugins"));
      });
    });

  plugin
    .command("get")
    .description("show one plugin: its state, versions, extension points and grants")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.getPlugin({ name }, { signal: context.signal });
        output.message(GetPluginResponseSchema, response, () => formatPlugin(response.plugin));
      });
    });

  plugin
    .command("versions")
    .description("list every version that was pushed, newest first")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const [response, { plugin: standing }] = await Promise.all([
          client.plugins.listPluginVersions({ name }, { signal: context.signal }),
          client.plugins.getPlugin({ name }, { signal: context.signal }),
        ]);
        output.message(ListPluginVersionsResponseSchema, response, () =>
          table(response.versions, versionColumns(standing), "no versions"),
        );
      });
    });
}
