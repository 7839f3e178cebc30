import type { SecureClientSessionOptions } from "node:http2";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport as createConnectGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

export interface GrpcTransportOptions {
  /** `http://host:port` for h2c, `https://` for TLS. */
  readonly baseUrl: string;
  readonly defaultTimeoutMs?: number;
  readonly readMaxBytes?: number;
  /** With `https://`: the authorities trusted, and the client's own certificate for mTLS. */
  readonly tls?: Pick<SecureClientSessionOptions, "ca" | "cert" | "key" | "servername">;
}

const pingIntervalMs = 15_000;
const pingTimeoutMs = 5_000;

/** connect-node's gRPC transport, with its connections owned by the caller. */
export function createGrpcTransport(options: GrpcTransportOptions): Transport & AsyncDisposable {
  const sessionManager = new Http2SessionManager(options.baseUrl, { pingIntervalMs, pingTimeoutMs }, options.tls);
  const transport = createConnectGrpcTransport({
    baseUrl: options.baseUrl,
    sessionManager,
    readMaxBytes: options.readMaxBytes ?? 32 * 1024 * 1024,
    ...(options.defaultTimeoutMs === undefined ? {} : { defaultTimeoutMs: options.defaultTimeoutMs }),
  });
  return {
    unary: transport.unary.bind(transport),
    stream: transport.stream.bind(transport),
    async [Symbol.asyncDispose]() {
      sessionManager.abort();
    },
  };
}
