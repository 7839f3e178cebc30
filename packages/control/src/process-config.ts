import { serviceSettings, z } from "@millrace/service-kit";

/** What control needs to know as a process of its own. */
export const processConfig = z.object({
  ...serviceSettings,
  host: z.string().default("127.0.0.1"),
  natsUrl: z.string().default("nats://127.0.0.1:4222").meta({ env: "NATS_URL" }),
  databaseUrl: z.string().meta({ env: "DATABASE_URL", secret: true }),
  /** Whether plugins must be signed by a trusted key; a signature that is there must always verify. */
  pluginSignatures: z.enum(["optional", "required"]).default("optional"),
  /** Health and metrics. */
  opsPort: z.number().int().min(0).max(65_535).default(9464),
  /** Set: gateways may come by gRPC too. */
  grpcPort: z.number().int().min(0).max(65_535).optional(),
});
