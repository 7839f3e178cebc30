import { createGrpcTransport, openNatsTransport, type RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import type { GatewayProcessConfig } from "./config.ts";

type TransportConfig = Pick<
  GatewayProcessConfig,
  | "controlUrl"
  | "natsUrl"
  | "natsSeedFile"
  | "natsCredsFile"
  | "natsPrefix"
  | "natsDomain"
  | "tlsCa"
  | "tlsCert"
  | "tlsKey"
>;

export interface ConnectedTransport extends RpcTransport, AsyncDisposable {
  /** Why nothing can be called, where there is a broker on the way. */
  missing?(): Promise<string | undefined>;
}

/** The way to `control`: gRPC where its address is given, else NATS request-reply. */
export function connectTransport(
  config: TransportConfig,
  logger: Logger,
  signal: AbortSignal,
): Promise<ConnectedTransport> {
  const { controlUrl: baseUrl, tlsCa: ca, tlsCert: cert, tlsKey: key } = config;
  if (baseUrl === undefined) return openNatsTransport("gateway", { ...config, logger, signal });
  const paths = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  const security = ca === undefined ? {} : { certificates: { ca, ...paths } };
  return Promise.resolve(createGrpcTransport({ baseUrl, logger, ...security }));
}
