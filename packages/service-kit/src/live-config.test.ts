import { Writable } from "node:stream";
import { expect, it } from "vitest";
import { z } from "zod";
import { createLogger } from "./create-logger.ts";
import { followSettings, type SettingsBucket } from "./follow-settings.ts";
import { LiveConfig } from "./live-config.ts";
import { loadConfig } from "./load-config.ts";
import { serviceSettings } from "./service-settings.ts";

const schema = z.object({
  ...serviceSettings,
  databaseUrl: z.string().default("postgres://u:p@h/d").meta({ env: "DATABASE_URL", secret: true }),
});

function start(env: Record<string, string> = {}): LiveConfig<typeof schema> {
  return new LiveConfig(schema, loadConfig(schema, { env }));
}

function shown(config: LiveConfig<typeof schema>, name: string) {
  return config.list().find((setting) => setting.name === name);
}

it("takes a value of the database before the default, and the default again without it", () => {
  const config = start();
  const { values } = config;
  expect(config.follow(new Map([["logLevel", "debug"]]))).toEqual([]);
  expect(values.logLevel).toBe("debug");
  expect(shown(config, "logLevel")).toMatchObject({ value: "debug", source: "database", defaultValue: "info" });
  config.follow(new Map([["logLevel", "debug"]]));
  config.follow(new Map());
  expect(values.logLevel).toBe("info");
  expect(shown(config, "logLevel")).toMatchObject({ value: "info", source: "default", changeable: true });
});

it("takes what this process was told before what the database holds", () => {
  const config = start({ MILLRACE_LOG_LEVEL: "error" });
  config.follow(new Map([["logLevel", "debug"]]));
  expect(config.values.logLevel).toBe("error");
  expect(shown(config, "logLevel")).toMatchObject({ value: "error", source: "env", variable: "MILLRACE_LOG_LEVEL" });
});

it("keeps what it had when the database holds what does not fit, or what may not change at run time", () => {
  const config = start();
  config.follow(new Map([["logLevel", "warn"]]));
  const problems = config.follow(
    new Map<string, unknown>([
      ["logLevel", "loud"],
      ["stopTimeoutMs", 1],
      ["__proto__", 1],
    ]),
  );
  expect(problems).toEqual([expect.stringContaining("logLevel")]);
  expect(config.values).toMatchObject({ logLevel: "warn", stopTimeoutMs: 30_000 });
});

it("never shows a secret, and neither its default", () => {
  const config = start({ DATABASE_URL: "postgres://ada:secret@db/m" });
  expect(shown(config, "databaseUrl")).toMatchObject({ secret: true, source: "env", variable: "DATABASE_URL" });
  expect(JSON.stringify(config.list())).not.toMatch(/postgres/);
});

it("follows the bucket that carries settings, the logger's level with it", async () => {
  const config = start();
  const lines: string[] = [];
  const destination = new Writable({ write: (chunk: Buffer, _, done) => (lines.push(chunk.toString()), done()) });
  const logger = createLogger({ name: "test", destination });
  let tell: Parameters<SettingsBucket["watch"]>[0]["onEntry"] = () => undefined;
  const bucket: SettingsBucket = {
    watch: ({ onEntry }) => {
      tell = onEntry;
      return { ready: Promise.resolve(), [Symbol.asyncDispose]: () => Promise.resolve() };
    },
  };
  const value = (text: string) => ({ value: new TextEncoder().encode(text) });
  await using follower = followSettings(bucket, config, logger);
  tell("logLevel", value('"warn"'));
  logger.info("not heard");
  expect([config.values.logLevel, logger.level]).toEqual(["warn", "warn"]);
  tell("logLevel", value("{"));
  tell("logLevel", value('"loud"'));
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    "a setting does not parse",
    "a setting in the database cannot be used",
  ]);
  tell("logLevel", undefined);
  expect([config.values.logLevel, logger.level]).toEqual(["info", "info"]);
  follower.assume(new Map([["logLevel", "error"]]));
  expect([config.values.logLevel, logger.level]).toEqual(["error", "error"]);
});
