import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { byteSetting } from "./byte-setting.ts";
import { checkRuntimeSetting } from "./runtime-settings.ts";
import { ConfigError } from "./config-error.ts";
import { loadConfig } from "./load-config.ts";
import { serviceSettings } from "./service-settings.ts";

const schema = z.object({
  httpPort: z.number().int().min(0).max(65_535).default(8080),
  host: z.string().default("127.0.0.1"),
  natsUrl: z.string().optional().meta({ env: "NATS_URL" }),
  queues: z.array(z.string()).default(["default"]),
  embedded: z.boolean().default(true),
  databaseUrl: z.string().optional().meta({ env: "DATABASE_URL", secret: true }),
});

const folder = mkdtempSync(path.join(tmpdir(), "service-kit-"));
afterAll(() => rmSync(folder, { recursive: true }));

function yaml(text: string): string {
  const file = path.join(folder, `${Math.random()}.yaml`);
  writeFileSync(file, text);
  return file;
}

function problemsOf(load: () => unknown): ConfigError["problems"] {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe("a size in bytes", () => {
  const sized = z.object({
    logBytes: byteSetting(1 << 20)
      .optional()
      .describe("Of a log"),
    readBytes: byteSetting(1024, 1 << 30).default(8 << 20),
  });

  it("is a number, or a size in words, wherever it stands", () => {
    expect(loadConfig(sized).values).toEqual({ readBytes: 8 << 20 });
    expect(loadConfig(sized, { argv: ["--log-bytes", "64MiB"], env: { MILLRACE_READ_BYTES: "1 MB" } }).values).toEqual({
      logBytes: 64 << 20,
      readBytes: 1_000_000,
    });
    expect(loadConfig(sized, { file: yaml("log: { bytes: 2GiB }\nreadBytes: 4096\n") }).values).toEqual({
      logBytes: 2 * 2 ** 30,
      readBytes: 4096,
    });
    expect(loadConfig(sized, { env: { MILLRACE_LOG_BYTES: "2097152" } }).values.logBytes).toBe(2 << 20);
  });

  it("shows what it may look like", () => {
    const forms = "must be a number of bytes, or a size such as 500MB, 64MiB or 2GiB";
    const file = yaml("readBytes: 10 parsecs");
    expect(problemsOf(() => loadConfig(sized, { env: { MILLRACE_LOG_BYTES: "64M" }, file }))).toEqual([
      { key: "logBytes", origin: "MILLRACE_LOG_BYTES", reason: forms },
      { key: "readBytes", origin: file, reason: forms },
    ]);
    const [least] = problemsOf(() => loadConfig(sized, { env: { MILLRACE_LOG_BYTES: "1KiB" } }));
    expect(least?.reason).toContain("1048576");
  });

  it("may be changed while the system runs in the same words", () => {
    expect(checkRuntimeSetting("quotaBytes", "2GiB")).toEqual({ value: 2 * 2 ** 30 });
    expect(checkRuntimeSetting("quotaBytes", 4096)).toEqual({ value: 4096 });
    expect(checkRuntimeSetting("quotaBytes", "2G")).toMatchObject({
      problem: expect.stringContaining("2GiB") as string,
    });
    expect(checkRuntimeSetting("quotaJobs", "2GiB")).toHaveProperty("problem");
  });
});

describe("loadConfig", () => {
  it("takes defaults when nothing is set", () => {
    const { values, sources } = loadConfig(schema);
    expect(values).toEqual({ httpPort: 8080, host: "127.0.0.1", queues: ["default"], embedded: true });
    expect(new Set(Object.values(sources))).toEqual(new Set(["default"]));
  });

  it("prefers the command line to the environment to the file, and knows each source", () => {
    const file = yaml("http: { port: 3 }\nhost: 0.0.0.0\nqueues: [a, b]\nworker: { slots: 2 }\n");
    const { values, sources, unread } = loadConfig(schema, {
      argv: ["--http-port", "1", "--no-embedded"],
      env: { MILLRACE_HTTP_PORT: "2", NATS_URL: "nats://there", DATABASE_URL: "", MILLRACE_HOST: "::1" },
      file,
    });
    expect(values).toEqual({ httpPort: 1, host: "::1", natsUrl: "nats://there", queues: ["a", "b"], embedded: false });
    expect(sources).toMatchObject({ httpPort: "argv", host: "env", queues: "file", databaseUrl: "default" });
    expect(unread).toEqual(["workerSlots"]);
  });

  it("finds the file by option or variable", () => {
    const file = yaml("httpPort: 7");
    expect(loadConfig(schema, { argv: [`--config=${file}`] }).values.httpPort).toBe(7);
    expect(loadConfig(schema, { env: { MILLRACE_CONFIG: file } }).values.httpPort).toBe(7);
  });

  it("converts text to what a setting expects", () => {
    const { values } = loadConfig(schema, { env: { MILLRACE_QUEUES: "x, y", MILLRACE_EMBEDDED: "no" } });
    expect(values).toMatchObject({ queues: ["x", "y"], embedded: false });
    expect(loadConfig(schema, { argv: ["--embedded"] }).sources.embedded).toBe("argv");
  });

  it("reports all problems at once, each with what set it", () => {
    const problems = problemsOf(() =>
      loadConfig(schema.extend({ secretKey: z.string() }), {
        argv: ["--queue", "a", "stray", "--host"],
        env: { MILLRACE_HTTP_PORT: "eighty", MILLRACE_EMBEDDED: "perhaps" },
        file: path.join(folder, "absent.yaml"),
      }),
    );
    const origins = problems.map(({ key, origin }) => `${key} ${origin}`);
    expect(origins).toEqual(
      expect.arrayContaining([
        "--queue argv",
        "stray argv",
        "--host argv",
        `config ${path.join(folder, "absent.yaml")}`,
        "httpPort MILLRACE_HTTP_PORT",
        "embedded MILLRACE_EMBEDDED",
        "secretKey MILLRACE_SECRET_KEY",
      ]),
    );
  });

  it("masks secrets in its description", () => {
    const { describe } = loadConfig(schema, { env: { DATABASE_URL: "postgres://u:p@h/d" } });
    expect(describe()).toMatchObject({ databaseUrl: { value: "***", source: "env" }, host: { value: "127.0.0.1" } });
  });

  it("serves the settings that every service has", () => {
    const { values } = loadConfig(z.object(serviceSettings), {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" },
    });
    expect(values).toEqual({
      logLevel: "info",
      stopTimeoutMs: 30_000,
      otlpEndpoint: "http://collector:4318",
      traceRatio: 1,
    });
  });
});
