import type { StandaloneConfig } from "./config.ts";
import type { Standalone } from "./start-standalone.ts";

/** What a person needs to know first. */
export function summary(config: StandaloneConfig, system: Standalone): string {
  const { httpUrl, grpcAddress, natsUrl, plugins, logFile, missing } = system;
  const rows: [string, string][] = [
    ["REST, Connect, gRPC-web", `${httpUrl}/api/v1/`],
    ["API documentation", `${httpUrl}/docs`],
    ["OpenAPI 3.1", `${httpUrl}/openapi.json`],
    ["gRPC (h2c, reflection)", grpcAddress],
    ["NATS", natsUrl],
    ["Metrics, health", `${httpUrl}/metrics  ${httpUrl}/health/ready`],
    ["Database", config.databaseUrl === undefined ? "PGlite in the data folder" : "PostgreSQL of DATABASE_URL"],
    ["Data", config.dataDir],
    ["Logs", logFile ?? "stderr"],
    ["Plugins", plugins.length === 0 ? "none" : plugins.join(", ")],
    ["Worker queues", config.queues.join(", ")],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return `
Millrace runs.${missing === "" ? "" : `\nStill missing: ${missing}`}

${rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`).join("\n")}

A first job:

  curl -X POST ${httpUrl}/api/v1/jobs \\
    -H 'content-type: application/json' \\
    -d '{"type":"audit","payload":{"json":{"type":"user.login","actor":"ada"}},"waitMs":5000}'

Ctrl-C stops it in order.
`;
}
