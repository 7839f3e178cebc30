import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import { SettingSchema, SettingSource, type Setting } from "@millrace/protocol";
import type { SettingView } from "./live-config.ts";
import type { ConfigSource } from "./load-config.ts";

const sources: Readonly<Record<ConfigSource, SettingSource>> = {
  argv: SettingSource.COMMAND_LINE,
  env: SettingSource.ENVIRONMENT,
  file: SettingSource.FILE,
  database: SettingSource.DATABASE,
  default: SettingSource.DEFAULT,
};

/** @param updatedAtMs when the database's value was set; undefined without one */
export function settingMessage(view: SettingView, updatedAtMs?: number): Setting {
  const { name, value, source, defaultValue, description, changeable, secret, variable } = view;
  return create(SettingSchema, {
    name,
    source: sources[source],
    description,
    changeable,
    secret,
    variable,
    ...(value === undefined ? {} : { value: fromJson(ValueSchema, value as JsonValue) }),
    ...(defaultValue === undefined ? {} : { defaultValue: fromJson(ValueSchema, defaultValue as JsonValue) }),
    ...(updatedAtMs === undefined ? {} : { updatedAt: timestampFromMs(updatedAtMs) }),
  });
}
