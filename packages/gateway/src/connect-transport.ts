import { createGrpcTransport, openNatsTransport, type RpcTransport } from "@millrace/rpc";
import type { GatewayConfig } from "./config.ts";

/** The way to `control`: gRPC where its address is given, else NATS request-reply. */
export function connectTransport(
  config: Pick<GatewayConfig, "controlUrl" | "natsUrl">,
): Promise<RpcTransport & AsyncDisposable> {
  if (config.controlUrl !== undefined) return Promise.resolve(createGrpcTransport({ baseUrl: config.controlUrl }));
  return openNatsTransport({ servers: config.natsUrl, name: "gateway" });
}
