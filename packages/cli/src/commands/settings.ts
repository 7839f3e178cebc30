import { fromJson, toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  GetSettingResponseSchema,
  ListSettingsResponseSchema,
  ResetSettingResponseSchema,
  SettingSource,
  UpdateSettingResponseSchema,
  type Setting,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { table } from "../output.ts";

const sourceNames: Readonly<Record<SettingSource, string>> = {
  [SettingSource.UNSPECIFIED]: "",
  [SettingSource.COMMAND_LINE]: "command line",
  [SettingSource.ENVIRONMENT]: "environment",
  [SettingSource.FILE]: "file",
  [SettingSource.DATABASE]: "database",
  [SettingSource.DEFAULT]: "default",
};

/** One that is newer than this program is told by its number. */
function sourceName(source: SettingSource): string {
  return sourceNames[source] ?? String(source);
}

/** `settings list|get|set|reset`. */
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
          table(response.settings.flatMap(rowsOf), settingColumns, "no settings"),
        );
      });
    });

  settings
    .command("get")
    .description("show one setting, what it is for, and what each process has")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.settings.getSetting({ name }, call);
        output.message(GetSettingResponseSchema, response, () => detailsText(response.setting));
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

function jsonOrText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

function shown(value: Value | undefined): string {
  if (value === undefined) return "";
  return value.kind.case === "stringValue" ? value.kind.value : JSON.stringify(toJson(ValueSchema, value));
}

/** A secret is not shown, but that there is one is: none comes by default. */
function valueText(secret: boolean, { value, source }: Pick<Setting, "value" | "source">): string {
  if (!secret) return shown(value);
  return source === SettingSource.DEFAULT ? "" : "(secret)";
}

function settingText(setting: Setting | undefined): string {
  if (setting === undefined) return "done";
  const { name, secret, source, variable, updatedAt } = setting;
  const text = `${name} is ${valueText(secret, setting) || "not set"} (${sourceName(source)})`;
  const hidden = updatedAt !== undefined && source !== SettingSource.DATABASE;
  const lines = [hidden ? `${text}: it comes before the database; see ${variable}` : text];
  return [
    ...lines,
    ...fixedElsewhere(setting).map(({ name: where, value, source: from }) => `${where}: ${value} (${from})`),
  ].join("\n");
}

function detailsText(setting: Setting | undefined): string {
  if (setting === undefined) return "no setting";
  const { description, variable, defaultValue, changeable } = setting;
  return [
    settingText(setting),
    ...(description === "" ? [] : [description]),
    ...(defaultValue === undefined ? [] : [`default: ${shown(defaultValue)}`]),
    changeable ? `may be changed while the system runs, or set by ${variable}` : `read at the start: set ${variable}`,
  ].join("\n");
}

interface Row {
  readonly mark: string;
  readonly name: string;
  readonly value: string;
  readonly source: string;
  readonly preset: string;
  readonly variable: string;
}

function rowsOf(setting: Setting): Row[] {
  const { changeable, name, secret, source, defaultValue, variable } = setting;
  const value = valueText(secret, setting);
  const row = { name, value, source: sourceName(source), preset: shown(defaultValue), variable };
  return [{ mark: changeable ? "*" : "", ...row }, ...fixedElsewhere(setting)];
}

/** Processes that have another value than the one shown, or have it from elsewhere; those that agree are one row. */
function fixedElsewhere(setting: Setting): Row[] {
  const rows = new Map<string, { count: number; readonly row: Row }>();
  for (const own of setting.processes) {
    const { process, source } = own;
    const text = valueText(setting.secret, own);
    if (text === valueText(setting.secret, setting) && source === setting.source) continue;
    const key = JSON.stringify([process, text, source]);
    const row = {
      mark: "",
      name: `  in ${process}`,
      value: text,
      source: sourceName(source),
      preset: "",
      variable: "",
    };
    const same = rows.get(key);
    if (same === undefined) rows.set(key, { count: 1, row });
    else same.count++;
  }
  return [...rows.values()].map(({ count, row }) => (count === 1 ? row : { ...row, name: `${row.name} (${count})` }));
}

const settingColumns = [
  { head: "", cell: ({ mark }: Row) => mark },
  { head: "name", cell: ({ name }: Row) => name },
  { head: "value", cell: ({ value }: Row) => value },
  { head: "source", cell: ({ source }: Row) => source },
  { head: "default", cell: ({ preset }: Row) => preset },
  { head: "variable", cell: ({ variable }: Row) => variable },
];
