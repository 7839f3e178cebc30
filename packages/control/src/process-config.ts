import { brokerSettings, ConfigError, runtimeSettings, serviceSettings, z } from "@millrace/service-kit";
import type { GrpcSecurity } from "./listen-grpc.ts";

/** What control needs to know as a process of its own. */
export const processConfig = z.object({
  ...serviceSettings,
  ...brokerSettings,
  // Those of other processes too: control keeps what the database says of them.
  ...runtimeSettings,
  host: z.string().default("127.0.0.1"),
  databaseUrl: z.string().meta({ env: "DATABASE_URL", secret: true }),
  /** Whether plugins must be signed by a trusted key; a signature that is there must always verify. */
  pluginSignatures: z.enum(["optional", "required"]).default("optional"),
  /** Health and metrics. */
  opsPort: z.number().int().min(0).max(65_535).default(9464),
  /** Set: gateways may come by gRPC too. */
  grpcPort: z.number().int().min(0).max(65_535).optional(),
  /** Names of the gateways' certificates: with certificates set, gRPC is served to these. */
  grpcPeers: z.array(z.string()).default(["gateway"]),
});

/** @throws ConfigError when only a part of the certificates is given */
export function grpcSecurity(values: z.output<typeof processConfig>): GrpcSecurity | undefined {
  const { tlsCa: ca, tlsCert: cert, tlsKey: key, grpcPeers: peers } = values;
  if (ca !== undefined && cert !== undefined && key !== undefined) return { certificates: { ca, cert, key }, peers };
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  throw new ConfigError([
    { key: "tlsCert", origin: "MILLRACE_TLS_CERT", reason: "tlsCa, tlsCert and tlsKey go together" },
  ]);
}
