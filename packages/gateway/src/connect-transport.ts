import { createGrpcTransport, openNatsTransport, type RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import type { GatewayProcessConfig } from "./config.ts";

type TransportConfig = Pick<
  GatewayProcessConfig,
  "controlUrl" | "natsUrl" | "natsSeedFile" | "tlsCa" | "tlsCert" | "tlsKey"
>;

/** The way to `control`: gRPC where its address is given, else NATS request-reply. */
export function connectTransport(config: TransportConfig, logger: Logger): Promise<RpcTransport & AsyncDisposable> {
  const { controlUrl: baseUrl, tlsCa: ca, tlsCert: cert, tlsKey: key } = config;
  if (baseUrl === undefined) return openNatsTransport("gateway", { ...config, logger });
  const paths = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  const security = ca === undefined ? {} : { certificates: { ca, ...paths } };
  return Promise.resolve(createGrpcTransport({ baseUrl, logger, ...security }));
}
