import { fromJson, toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { Argument, type Command } from "commander";
import {
  ListFlagsResponseSchema,
  ListSettingsResponseSchema,
  ResetSettingResponseSchema,
  SetFlagResponseSchema,
  SettingSource,
  UpdateSettingResponseSchema,
  type Flag,
  type Setting,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { formatTime } from "../format-job.ts";
import { table } from "../output.ts";
import { share } from "../parse-options.ts";

const sourceNames: Readonly<Record<SettingSource, string>> = {
  [SettingSource.UNSPECIFIED]: "",
  [SettingSource.COMMAND_LINE]: "command line",
  [SettingSource.ENVIRONMENT]: "environment",
  [SettingSource.FILE]: "file",
  [SettingSource.DATABASE]: "database",
  [SettingSource.DEFAULT]: "default",
};

/** `settings list|set|reset`. */
export function settingCommands(program: Command, context: CliContext): void {
  const settings = program.command("settings").description("what is set, and where it came from");
  const call = { signal: context.signal };

  settings
    .command("list")
    .description("list settings; what a * stands before may be changed while the system runs")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.settings.listSettings({}, call);
        output.message(ListSettingsResponseSchema, response, () =>
          table(response.settings, settingColumns, "no settings"),
        );
      });
    });

  settings
    .command("set")
    .description("keep a value in the database; it holds at once")
    .argument("<name>")
    .argument("<value>", "JSON, or text")
    .addHelpText("after", "\nExample:\n  millrace settings set logLevel debug")
    .action(async (name: string, text: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const value = fromJson(ValueSchema, jsonOrText(text));
        const response = await client.settings.updateSetting({ name, value }, call);
        output.message(UpdateSettingResponseSchema, response, () => settingText(response.setting));
      });
    });

  settings
    .command("reset")
    .description("forget the value in the database; the default holds again")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.settings.resetSetting({ name }, call);
        output.message(ResetSettingResponseSchema, response, () => settingText(response.setting));
      });
    });
}

/** `flags list|set`. */
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
}

function jsonOrText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

function valueText(setting: Setting): string {
  if (setting.secret) return "(secret)";
  return shown(setting.value);
}

function shown(value: Value | undefined): string {
  if (value === undefined) return "";
  return value.kind.case === "stringValue" ? value.kind.value : JSON.stringify(toJson(ValueSchema, value));
}

function settingText(setting: Setting | undefined): string {
  if (setting === undefined) return "done";
  const { name, source, variable, updatedAt } = setting;
  const text = `${name} is ${valueText(setting)} (${sourceNames[source]})`;
  const hidden = updatedAt !== undefined && source !== SettingSource.DATABASE;
  return hidden ? `${text}: it comes before the database; see ${variable}` : text;
}

function flagText({ name, enabled, percent }: Flag): string {
  return `${name} is ${enabled ? `on for ${percent} % of users` : "off"}`;
}

const settingColumns = [
  { head: "", cell: ({ changeable }: Setting) => (changeable ? "*" : "") },
  { head: "name", cell: ({ name }: Setting) => name },
  { head: "value", cell: valueText },
  { head: "source", cell: ({ source }: Setting) => sourceNames[source] ?? "" },
  { head: "default", cell: ({ defaultValue }: Setting) => shown(defaultValue) },
  { head: "variable", cell: ({ variable }: Setting) => variable },
];

const flagColumns = [
  { head: "name", cell: ({ name }: Flag) => name },
  { head: "enabled", cell: ({ enabled }: Flag) => (enabled ? "on" : "off") },
  { head: "users", cell: ({ percent }: Flag) => `${percent} %` },
  { head: "changed", cell: ({ updatedAt }: Flag) => formatTime(updatedAt) },
];
