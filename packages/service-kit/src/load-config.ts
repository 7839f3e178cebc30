import { parseArgs } from "node:util";
import type { z } from "zod";
import { ConfigError, type ConfigProblem } from "./config-error.ts";
import { envName, flagName, isSecret, settingKind, valueFromText, withSizeRead } from "./config-setting.ts";
import { readConfigFile } from "./read-config-file.ts";

/** Where a value came from; the first that has one wins. Only LiveConfig knows the database. */
export type ConfigSource = "argv" | "env" | "file" | "database" | "default";

export interface ConfigInputs {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Without the program's own name: `process.argv.slice(2)`. */
  readonly argv?: readonly string[];
  /** A YAML file; `--config` and `MILLRACE_CONFIG` name it too, and win. */
  readonly file?: string;
}

export interface LoadedConfig<T> {
  readonly values: T;
  readonly sources: { readonly [K in keyof T]: ConfigSource };
  /** Keys of the file that this service does not read; one file may serve several services. */
  readonly unread: readonly string[];
  /** For the log: every value with its source, secrets masked. */
  describe(): Record<string, { value: unknown; source: ConfigSource }>;
}

/**
 * Reads settings from command line, environment, YAML file and defaults, in this order.
 *
 * A setting `httpPort` is `--http-port`, `MILLRACE_HTTP_PORT` and `httpPort:` (or `http: { port: }`) in the file. A schema's
 * `.meta({ env: "NATS_URL" })` gives another variable, `.meta({ secret: true })` keeps the value out of logs. An empty
 * environment variable counts as not set.
 * @throws ConfigError with all problems at once
 */
export function loadConfig<S extends z.ZodObject>(schema: S, inputs: ConfigInputs = {}): LoadedConfig<z.output<S>> {
  const problems: ConfigProblem[] = [];
  const env = inputs.env ?? {};
  const keys = Object.keys(schema.shape);
  const flags = readFlags(schema, inputs.argv ?? [], problems);
  const file = flags.get("config") ?? (env["MILLRACE_CONFIG"] || undefined) ?? inputs.file;
  const fromFile = file === undefined ? new Map<string, unknown>() : readConfigFile(file, new Set(keys), problems);

  const raw: Record<string, unknown> = {};
  const sources: Record<string, ConfigSource> = {};
  const origins: Record<string, string> = {};
  for (const key of keys) {
    const setting = schema.shape[key] as z.ZodType;
    const flag = flags.get(flagName(key));
    const variable = env[envName(key, setting)] || undefined;
    if (flag !== undefined) [raw[key], sources[key]] = [valueFromText(setting, flag), "argv"];
    else if (variable !== undefined) [raw[key], sources[key]] = [valueFromText(setting, variable), "env"];
    else if (fromFile.has(key)) [raw[key], sources[key]] = [withSizeRead(setting, fromFile.get(key)), "file"];
    else sources[key] = "default";
    const names = { argv: `--${flagName(key)}`, env: envName(key, setting), file: `${file}`, database: "database" };
    origins[key] = sources[key] === "default" ? "default" : names[sources[key]];
  }

  const parsed = schema.safeParse(raw);
  for (const issue of parsed.error?.issues ?? []) {
    const key = issue.path.map(String).join(".");
    const origin = origins[String(issue.path[0])];
    const missing = origin === "default";
    const setting = schema.shape[String(issue.path[0])] as z.ZodType | undefined;
    problems.push({
      key,
      origin: missing && setting !== undefined ? envName(key, setting) : (origin ?? "config"),
      reason: missing ? "is required" : issue.message,
    });
  }
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);

  const values = parsed.data;
  return {
    values,
    sources: sources as LoadedConfig<z.output<S>>["sources"],
    unread: [...fromFile.keys()].filter((key) => !keys.includes(key)),
    describe: () =>
      Object.fromEntries(
        keys.map((key) => {
          const value: unknown = (values as Record<string, unknown>)[key];
          const hidden = isSecret(schema.shape[key] as z.ZodType) && value !== undefined;
          return [key, { value: hidden ? "***" : value, source: sources[key] ?? "default" }];
        }),
      ),
  };
}

function readFlags(schema: z.ZodObject, argv: readonly string[], problems: ConfigProblem[]): Map<string, string> {
  const known = new Map<string, boolean>([["config", false]]);
  for (const [key, setting] of Object.entries(schema.shape)) {
    known.set(flagName(key), settingKind(setting as z.ZodType) === "boolean");
  }
  const options = Object.fromEntries(
    [...known].map(([name, flag]) => [name, { type: flag ? ("boolean" as const) : ("string" as const) }]),
  );
  const { tokens } = parseArgs({ args: [...argv], options, allowNegative: true, strict: false, tokens: true });
  const found = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind === "positional") problems.push({ key: token.value, origin: "argv", reason: "is not an option" });
    if (token.kind !== "option") continue;
    // node:util strips the "no-" of a negated option from its name, but not from the raw one.
    const negated = token.rawName.startsWith("--no-");
    const isFlag = known.get(token.name);
    if (isFlag === undefined || (negated && !isFlag)) {
      problems.push({ key: token.rawName, origin: "argv", reason: "is an unknown option" });
    } else if (!isFlag && token.value === undefined) {
      problems.push({ key: token.rawName, origin: "argv", reason: "needs a value" });
    } else found.set(token.name, negated ? "false" : (token.value ?? "true"));
  }
  return found;
}
