import { hostname } from "node:os";
import { isLoopback } from "@millrace/gateway";
import type { StandaloneConfig } from "./config.ts";
import type { Access, Standalone } from "./start-standalone.ts";

/** What a person needs to know first. */
export function summary(config: StandaloneConfig, system: Standalone): string {
  const { httpUrl, grpcAddress, natsUrl, plugins, logFile, access, missing } = system;
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
  const { credentialsFile } = access ?? {};
  const knows = credentialsFile !== undefined;
  return `
Millrace runs.${missing === "" ? "" : `\nStill missing: ${missing}`}

${rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`).join("\n")}
${access === undefined ? "" : `\n${accessText(access, httpUrl, config.host)}\n`}
A first job:
${knows ? `\n  TOKEN=$(node -p 'require("${credentialsFile}").token')` : ""}
  curl -X POST ${httpUrl}/api/v1/jobs \\
    -H 'content-type: application/json' \\${knows ? `\n    -H "authorization: Bearer $TOKEN" \\` : ""}
    -d '{"type":"audit","payload":{"json":{"type":"user.login","actor":"ada"}},"waitMs":5000}'

Ctrl-C stops it in order.
`;
}

function accessText({ administrator, credentialsFile }: Access, httpUrl: string, host: string): string {
  const lines = ["Whoever calls has to say who they are.", ""];
  if (credentialsFile !== undefined) {
    lines.push("  On this machine  the command line finds its token in", `                   ${credentialsFile}`);
  }
  const email = administrator === undefined ? "" : ` --email ${administrator.email}`;
  const login = (server: string): string => `npm run -s millrace -- login --server ${server}${email}`;
  if (isLoopback(host)) {
    lines.push(`  As a person      ${login(httpUrl)}`);
    lines.push("  From elsewhere   it listens on this machine only: MILLRACE_HOST opens it, see docs/operating.md");
  } else {
    lines.push(`  From elsewhere   ${login(httpUrl.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, `//${hostname()}`))}`);
  }
  if (administrator !== undefined) {
    lines.push(
      `  Administrator    ${administrator.email}`,
      `  Password         ${administrator.password}`,
      "                   It is shown this once, and has to be changed at the first login.",
    );
  }
  return lines.join("\n");
}
