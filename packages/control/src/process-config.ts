import {
  brokerSettings,
  databaseSettings,
  grpcSettings,
  runtimeSettings,
  serviceSettings,
  z,
} from "@millrace/service-kit";

/** What control needs to know as a process of its own. */
export const processConfig = z.object({
  ...serviceSettings,
  ...brokerSettings,
  ...grpcSettings,
  // Those of other processes too: control keeps what the database says of them.
  ...runtimeSettings,
  host: z.string().default("127.0.0.1").describe("Address that health, metrics and gRPC are served on"),
  databaseUrl: z.string().meta({ env: "DATABASE_URL", secret: true, description: "A PostgreSQL" }),
  ...databaseSettings,
  pluginSignatures: z
    .enum(["optional", "required"])
    .default("optional")
    .describe("Whether plugins must be signed by a trusted key; a signature that is there must always verify"),
  opsPort: z.number().int().min(0).max(65_535).default(9464).describe("Port of health and metrics"),
});
