import { fileURLToPath } from "node:url";
import { identitySettings } from "@millrace/identity";
import { serviceSettings, z } from "@millrace/service-kit";

const port = z.number().int().min(0).max(65_535);
const repository = fileURLToPath(new URL("../../..", import.meta.url));

const loopback = /^(127(\.\d{1,3}){3}|::1|localhost)$/;

const settings = z.object({
  ...serviceSettings,
  host: z.string().default("127.0.0.1"),
  /** `on`: whoever calls has to say who they are, and may do what their roles give. */
  identity: z.enum(["on", "off"]).default("on"),
  ...identitySettings,
  /** REST, Connect, gRPC-web, documentation, health and metrics. */
  httpPort: port.default(8080),
  grpcPort: port.default(9090),
  /** Of the nats-server that is started; 0 takes a free one. */
  natsPort: port.default(4222),
  /** A nats-server that runs already. */
  natsUrl: z.string().optional().meta({ env: "NATS_URL" }),
  /** A PostgreSQL that runs already; PGlite in the data folder without it. */
  databaseUrl: z.string().optional().meta({ env: "DATABASE_URL", secret: true }),
  dataDir: z.string().min(1).default(`${repository}.millrace/data`),
  /** Where a nats-server that had to be fetched is kept. */
  cacheDir: z.string().min(1).default(`${repository}.millrace/cache`),
  /** Folders with plugin.yaml and module, deployed when they have changed; empty: none. */
  pluginsDir: z.string().default(`${repository}plugins`),
  /** Deploys them again when their files change, for development. */
  watchPlugins: z.boolean().default(true),
  /** Whether plugins must be signed by a trusted key; a signature that is there must always verify. */
  pluginSignatures: z.enum(["optional", "required"]).default("optional"),
  /** `host:port` that plugins may call by HTTP although their addresses are private. */
  pluginHttpPrivate: z.array(z.string()).default([]),
  /** Secrets for plugins: YAML or JSON, readable by its owner only. */
  secretsFile: z.string().optional(),
  queues: z.array(z.string()).min(1).default(["default", "demo"]),
  /** Threads that run plugins; 0 takes one for each two processors. */
  executors: z.number().int().min(0).max(256).default(0),
  /** Log lines go to a file in the data folder while the terminal shows the summary. */
  logTo: z.enum(["auto", "stderr", "file"]).default("auto"),
});

export const standaloneSettings = settings.refine(({ host, identity }) => identity === "on" || loopback.test(host), {
  path: ["host"],
  message: "must be a loopback address while identity is off: whoever reaches the ports could do everything",
});

export type StandaloneConfig = z.output<typeof standaloneSettings>;
