import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport as createConnectGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { CertificateFiles, type BusLogger, type CertificatePaths, type Certificates } from "@millrace/bus";

export interface GrpcTransportOptions {
  /** `http://host:port` for h2c, `https://` for TLS. */
  readonly baseUrl: string;
  readonly defaultTimeoutMs?: number;
  readonly readMaxBytes?: number;
  /** With `https://`: the authorities trusted, and the client's own certificate for mTLS. Followed when the files change. */
  readonly certificates?: CertificatePaths;
  readonly logger?: BusLogger;
}

/** Connections of one set of certificates. */
interface Connections extends Disposable {
  readonly transport: Transport;
  /** Nothing is open. */
  readonly over: boolean;
}

const pingIntervalMs = 15_000;
const pingTimeoutMs = 5_000;
/** A connection without a call is closed after so long; so are those of certificates that were replaced. */
const idleConnectionTimeoutMs = 120_000;
const silent: BusLogger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * connect-node's gRPC transport, with its connections owned by the caller. New calls go over connections of the certificates as
 * they stand; calls that run end on the old ones.
 * @throws BusError failed_precondition when the certificates cannot be used
 */
export function createGrpcTransport(options: GrpcTransportOptions): Transport & AsyncDisposable {
  const { certificates, logger = silent } = options;
  const files = certificates === undefined ? undefined : new CertificateFiles(certificates, logger);
  let current = openConnections(options, files?.current);
  let replaced: Connections[] = [];
  files?.onChange(() => {
    replaced = [...replaced.filter((connections) => !connections.over), current];
    current = openConnections(options, files.current);
  });
  return {
    unary: (method, signal, timeoutMs, ...call) =>
      current.transport.unary(method, signal, wholeTimeoutMs(timeoutMs), ...call),
    stream: (method, signal, timeoutMs, ...call) =>
      current.transport.stream(method, signal, wholeTimeoutMs(timeoutMs), ...call),
    async [Symbol.asyncDispose]() {
      files?.[Symbol.dispose]();
      for (const connections of [...replaced, current]) connections[Symbol.dispose]();
    },
  };
}

/** What is left of a caller's deadline is a fraction of ms; on the wire it is a whole number ("TimeoutValue" of gRPC over HTTP/2). */
function wholeTimeoutMs(timeoutMs: number | undefined): number | undefined {
  return timeoutMs === undefined ? undefined : Math.ceil(timeoutMs);
}

function openConnections(options: GrpcTransportOptions, certificates: Certificates | undefined): Connections {
  const { baseUrl, defaultTimeoutMs, readMaxBytes = 32 * 1024 * 1024 } = options;
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs, pingTimeoutMs, idleConnectionTimeoutMs },
    certificates === undefined ? undefined : { ...certificates, minVersion: "TLSv1.3" },
  );
  const transport = createConnectGrpcTransport({
    baseUrl,
    sessionManager,
    readMaxBytes,
    ...(defaultTimeoutMs === undefined ? {} : { defaultTimeoutMs }),
  });
  return {
    transport,
    get over() {
      return sessionManager.state() === "closed" || sessionManager.state() === "error";
    },
    [Symbol.dispose]: () => sessionManager.abort(),
  };
}
