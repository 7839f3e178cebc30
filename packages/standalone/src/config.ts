import { fileURLToPath } from "node:url";
import { controlSettings } from "@millrace/control";
import { gatewaySettings, isLoopback } from "@millrace/gateway";
import { identitySettings } from "@millrace/identity";
import { databaseSettings, namespaceSettings, serviceSettings, streamSettings, z } from "@millrace/service-kit";
import { areNameServers, pluginSettings } from "@millrace/worker";

const port = z.number().int().min(0).max(65_535);
const repository = fileURLToPath(new URL("../../..", import.meta.url));

const settings = z.object({
  ...serviceSettings,
  ...gatewaySettings,
  // Whoever starts the system at home gets its token put into a file.
  identity: gatewaySettings.identity.default("on"),
  ...identitySettings,
  ...controlSettings,
  natsPort: port.default(4222).describe("Port of the nats-server that is started; 0 takes a free one"),
  natsUrl: z.string().optional().meta({ env: "NATS_URL", description: "A nats-server that runs already" }),
  ...namespaceSettings,
  ...streamSettings,
  databaseUrl: z.string().optional().meta({
    env: "DATABASE_URL",
    secret: true,
    description: "A PostgreSQL that runs already; PGlite in the data folder without it",
  }),
  ...databaseSettings,
  dataDir: z.string().min(1).default(`${repository}.millrace/data`).describe("Folder of everything that is kept"),
  cacheDir: z
    .string()
    .min(1)
    .default(`${repository}.millrace/cache`)
    .describe("Where a nats-server that had to be fetched is kept"),
  pluginsDir: z
    .string()
    .default(`${repository}plugins`)
    .describe("Folders with plugin.yaml and module, deployed when they have changed; empty: none"),
  watchPlugins: z.boolean().default(true).describe("Deploys plugins again when their files change, for development"),
  ...pluginSettings,
  pluginHttpPrivate: z
    .array(z.string())
    .default([])
    .describe("host:port that plugins may call by HTTP although their addresses are private"),
  pluginNameServers: z
    .array(z.string())
    .default([])
    .refine(areNameServers, "has what is no address and no address:port")
    .describe("address or address:port of the name servers for what plugins call; none: the system's"),
  queues: z.array(z.string()).min(1).default(["default", "demo"]).describe("Queues that are served"),
  executors: z
    .number()
    .int()
    .min(0)
    .max(256)
    .default(0)
    .describe("Threads that run plugins; 0 takes one for each two processors"),
  logTo: z
    .enum(["auto", "stderr", "file"])
    .default("auto")
    .describe("Where log lines go; auto: to a file in the data folder while a terminal shows the summary"),
});

export const standaloneSettings = settings
  .refine(({ host, identity }) => identity === "on" || isLoopback(host), {
    path: ["host"],
    message: "must be a loopback address while identity is off: whoever reaches the ports could do everything",
  })
  .refine(({ databaseUrl, databaseSchema }) => databaseUrl !== undefined || databaseSchema === undefined, {
    path: ["databaseSchema"],
    message: "is for a PostgreSQL of yours: set DATABASE_URL",
  });

export type StandaloneConfig = z.output<typeof standaloneSettings>;
