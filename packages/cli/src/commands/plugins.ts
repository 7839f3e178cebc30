import type { Command } from "commander";
import {
  CallPluginResponseSchema,
  EnablePluginResponseSchema,
  DisablePluginResponseSchema,
  GetPluginResponseSchema,
  ListPluginsResponseSchema,
  PluginState,
  UploadPluginResponseSchema,
  type CallPluginRequest,
  type Plugin,
} from "@millrace/protocol";
import { toSubmitRequest } from "@millrace/client";
import { withSession, type CliContext } from "../cli-context.ts";
import { exitCodes } from "../exit-codes.ts";
import { formatError, formatPayload, formatTime } from "../format-job.ts";
import { formatFields, printable } from "../format-table.ts";
import { table } from "../output.ts";
import { duration } from "../parse-options.ts";
import { readPayload } from "../read-payload.ts";
import { readPluginPackage } from "../read-plugin-package.ts";

/** `plugin push|list|get|enable|disable|delete|call`. */
export function pluginCommands(program: Command, context: CliContext): void {
  const plugin = program.command("plugin").description("install plugins, and say which serve");

  plugin
    .command("push")
    .description("install or replace a plugin; it serves its job types at once")
    .argument("<path>", "a folder with plugin.yaml and its module, or the .wasm file")
    .argument("[manifest]", "the manifest, when it is not plugin.yaml beside the module")
    .option("--disabled", "do not serve yet")
    .action(async (path: string, manifestPath: string | undefined, options: { disabled?: true }, command: Command) => {
      const { manifest, module } = await readPluginPackage(path, manifestPath);
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.uploadPlugin(
          { manifest, module, disabled: options.disabled === true },
          { signal: context.signal },
        );
        output.message(UploadPluginResponseSchema, response, () => describe(response.plugin));
      });
    });

  plugin
    .command("list")
    .description("list the plugins")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.listPlugins({}, { signal: context.signal });
        output.message(ListPluginsResponseSchema, response, () => table(response.plugins, columns, "no plugins"));
      });
    });

  plugin
    .command("get")
    .description("show one plugin")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.getPlugin({ name }, { signal: context.signal });
        output.message(GetPluginResponseSchema, response, () => describe(response.plugin));
      });
    });

  plugin
    .command("enable")
    .description("let a plugin serve its job types")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.enablePlugin({ name }, { signal: context.signal });
        output.message(EnablePluginResponseSchema, response, () => `${name} is enabled`);
      });
    });

  plugin
    .command("disable")
    .description("let jobs of its types wait")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.disablePlugin({ name }, { signal: context.signal });
        output.message(DisablePluginResponseSchema, response, () => `${name} is disabled`);
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

  plugin
    .command("call")
    .description("run one export once, outside any queue: a dry run")
    .argument("<name>")
    .argument("<export>")
    .argument("[input]", "JSON or text, - for standard input, @file for a file")
    .option("--timeout <duration>", "bound on the call", duration)
    .action(
      async (
        name: string,
        exported: string,
        argument: string | undefined,
        options: { timeout?: number },
        command: Command,
      ) => {
        const payload = await readPayload(argument, context.stdin);
        await withSession(context, command, async ({ client, output }) => {
          const { payload: input } = toSubmitRequest({ type: "-", ...(payload === undefined ? {} : { payload }) });
          const request: Partial<Omit<CallPluginRequest, "$typeName" | "$unknown">> = {
            name,
            export: exported,
            timeoutMs: options.timeout ?? 0,
            ...(input === undefined ? {} : { input }),
          };
          const response = await client.plugins.callPlugin(request, { signal: context.signal, timeoutMs: 70_000 });
          output.message(CallPluginResponseSchema, response, () =>
            formatFields([
              ["output", formatPayload(response.output)],
              ["error", formatError(response.error)],
              ["run time", `${(Number(response.runUs) / 1000).toFixed(3)} ms`],
              ...response.logs.map((line): [string, string] => ["log", printable(line)]),
            ]),
          );
          if (response.error !== undefined) context.setExitCode(exitCodes.jobFailed);
        });
      },
    );
}

function stateWord(plugin: Plugin): string {
  const words: Readonly<Record<number, string>> = {
    [PluginState.ACTIVE]: "enabled",
    [PluginState.RESOLVED]: "disabled",
    [PluginState.UNINSTALLED]: "deleted",
  };
  return words[plugin.state] ?? "unknown";
}

function types(plugin: Plugin): string {
  return (plugin.manifest?.handlers ?? []).map((handler) => `${handler.type} → ${handler.export}`).join(", ");
}

const columns = [
  { head: "name", cell: (plugin: Plugin) => plugin.manifest?.name ?? "" },
  { head: "version", cell: (plugin: Plugin) => plugin.manifest?.version ?? "" },
  { head: "state", cell: stateWord },
  { head: "size", cell: (plugin: Plugin) => plugin.sizeBytes, align: "right" as const },
  { head: "sha256", cell: (plugin: Plugin) => plugin.sha256.slice(0, 12) },
  { head: "types", cell: types },
];

function describe(plugin: Plugin | undefined): string {
  if (plugin === undefined) return "";
  const { manifest } = plugin;
  return formatFields([
    ["name", manifest?.name ?? ""],
    ["version", manifest?.version ?? ""],
    ["description", manifest?.description ?? ""],
    ["author", manifest?.author ?? ""],
    ["state", stateWord(plugin)],
    ["types", types(plugin)],
    ["sha256", plugin.sha256],
    ["size", `${plugin.sizeBytes} bytes`],
    ["uploaded", formatTime(plugin.uploadedAt)],
  ]);
}
