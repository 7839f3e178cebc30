import { z } from "zod";
import type { brokerSettings } from "./broker-settings.ts";
import { ConfigError } from "./config-error.ts";

/** Settings of a service that gateways may call by gRPC; spread them into its schema. */
export const grpcSettings = {
  grpcPort: z
    .number()
    .int()
    .min(0)
    .max(65_535)
    .optional()
    .describe("Port for gateways that come by gRPC; 0 takes a free one, without it they come over NATS only"),
  grpcPeers: z
    .array(z.string())
    .default(["gateway"])
    .describe("Names of the gateways' certificates: with certificates set, gRPC is served to these"),
};

type Values = z.output<z.ZodObject<typeof grpcSettings & Pick<typeof brokerSettings, "tlsCa" | "tlsCert" | "tlsKey">>>;

/**
 * Who is served, by which certificates; undefined: whoever comes, in clear.
 * @throws ConfigError when only a part of the certificates is given
 */
export function grpcSecurityOf(values: Values):
  | {
      readonly certificates: { readonly ca: string; readonly cert: string; readonly key: string };
      readonly peers: readonly string[];
    }
  | undefined {
  const { tlsCa: ca, tlsCert: cert, tlsKey: key, grpcPeers: peers } = values;
  if (ca !== undefined && cert !== undefined && key !== undefined) return { certificates: { ca, cert, key }, peers };
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  throw new ConfigError([
    { key: "tlsCert", origin: "MILLRACE_TLS_CERT", reason: "tlsCa, tlsCert and tlsKey go together" },
  ]);
}
