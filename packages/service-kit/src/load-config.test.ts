import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
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
