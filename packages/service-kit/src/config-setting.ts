import { parseByteSize } from "@millrace/protocol";
import type { z } from "zod";

/** `httpPort` as an option: `http-port`. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `httpPort` as a variable: `MILLRACE_HTTP_PORT`, or what the setting's meta data says. */
export function envName(key: string, setting: z.ZodType): string {
  const given = setting.meta()?.["env"];
  return typeof given === "string" ? given : `MILLRACE_${flagName(key).replaceAll("-", "_").toUpperCase()}`;
}

export function isSecret(setting: z.ZodType): boolean {
  return setting.meta()?.["secret"] === true;
}

/** The type below defaults, optionals and transforms, such as `number`. */
export function settingKind(setting: z.ZodType): string {
  const inner = innerOf(setting);
  return inner === undefined ? setting.def.type : settingKind(inner);
}

/** See byteSetting. */
function isByteSize(setting: z.ZodType): boolean {
  const inner = innerOf(setting);
  return setting.meta()?.["unit"] === "bytes" || (inner !== undefined && isByteSize(inner));
}

function innerOf(setting: z.ZodType): z.ZodType | undefined {
  const def = setting.def as { innerType?: z.ZodType; in?: z.ZodType };
  return def.innerType ?? def.in;
}

/** A size in words as bytes, where the setting is one; everything else as it is. */
export function withSizeRead(setting: z.ZodType, value: unknown): unknown {
  return typeof value === "string" && isByteSize(setting) ? (parseByteSize(value) ?? value) : value;
}

/**
 * Text of a command line or variable as the value that the setting expects. Text that does not convert stays text, so that
 * the schema refuses it with its own words.
 */
export function valueFromText(setting: z.ZodType, text: string): unknown {
  switch (settingKind(setting)) {
    case "number":
      return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : withSizeRead(setting, text);
    case "boolean":
      if (/^(true|1|yes|on)$/i.test(text)) return true;
      return /^(false|0|no|off)$/i.test(text) ? false : text;
    case "array":
      if (text.trimStart().startsWith("[")) return fromJson(text);
      return text
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== "");
    case "object":
    case "record":
      return fromJson(text);
    default:
      return text;
  }
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
