/**
 * Who may import whom: the table of the packages. A package exists because it is the pure core, or the only importer of one
 * third-party boundary, or one deployable. Imports run downwards only.
 */
export const mayImport: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  actor: [],
  "wasm-meter": [],
  "service-kit": ["protocol"],
  bus: ["protocol"],
  store: ["protocol"],
  rpc: ["protocol", "bus"],
  "plugin-host": ["protocol", "wasm-meter"],
  worker: ["protocol", "actor", "bus", "plugin-host", "service-kit"],
  projector: ["protocol", "actor", "bus", "store", "service-kit"],
  scheduler: ["protocol", "actor", "bus", "store", "service-kit"],
  // Checks uploads and makes dry runs with the host that the worker runs plugins with.
  control: ["protocol", "bus", "store", "rpc", "plugin-host", "service-kit"],
  // Of NATS only the connection that its doors hang on.
  identity: ["protocol", "bus", "store", "rpc", "service-kit"],
  // No Postgres, and of NATS only what rpc needs.
  gateway: ["protocol", "rpc", "service-kit"],
  standalone: [
    "protocol",
    "bus",
    "store",
    "rpc",
    "plugin-host",
    "service-kit",
    "worker",
    "projector",
    "scheduler",
    "control",
    "identity",
    "gateway",
  ],
  client: ["protocol", "bus"],
  cli: ["protocol", "client", "bus", "plugin-host", "wasm-meter"],
};

/** Third-party packages that only the named packages import, so that a change of them is a change in one place. */
export const owners: Readonly<Record<string, readonly string[]>> = {
  nats: ["bus"],
  kysely: ["store"],
  pg: ["store"],
  "@electric-sql/pglite": ["store"],
  // The client is what users hold: it speaks to the gateway from outside.
  "@connectrpc/connect-node": ["rpc", "client"],
  "@extism/extism": ["plugin-host"],
  pino: ["service-kit"],
  "prom-client": ["service-kit"],
  zod: ["service-kit"],
  "@opentelemetry/api": ["service-kit"],
  "@opentelemetry/context-async-hooks": ["service-kit"],
  "@opentelemetry/exporter-trace-otlp-http": ["service-kit"],
  "@opentelemetry/resources": ["service-kit"],
  "@opentelemetry/sdk-trace": ["service-kit"],
  "@node-rs/argon2": ["identity"],
  "openid-client": ["identity"],
  commander: ["cli"],
  "cli-progress": ["cli"],
};

/** Packages without I/O: of Node they import nothing that reaches outside of the process. */
export const pure: readonly string[] = ["protocol", "actor", "wasm-meter"];

export const outsideModules: ReadonlySet<string> = new Set(
  "child_process cluster dgram dns fs fs/promises http http2 https net tls worker_threads"
    .split(" ")
    .map((name) => `node:${name}`),
);
