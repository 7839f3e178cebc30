import type { ClientHttp2Session } from "node:http2";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
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

// A server that hangs, or whose connection is half open, is left within the two together.
const pingIntervalMs = 5_000;
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
    async unary(method, signal, timeoutMs, ...call) {
      try {
        return await current.transport.unary(method, signal, wholeTimeoutMs(timeoutMs), ...call);
      } catch (reason) {
        throw lost(reason, method, signal);
      }
    },
    async stream(method, signal, timeoutMs, ...call) {
      try {
        const answer = await current.transport.stream(method, signal, wholeTimeoutMs(timeoutMs), ...call);
        return { ...answer, message: untilLost(answer.message, method, signal) };
      } catch (reason) {
        throw lost(reason, method, signal);
      }
    },
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

async function* untilLost<T>(
  messages: AsyncIterable<T>,
  method: DescMethod,
  signal: AbortSignal | undefined,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (reason) {
    throw lost(reason, method, signal);
  }
}

/** connect-node calls it canceled, or aborted, when the connection under a call is gone; nobody has cancelled anything. */
function lost(reason: unknown, method: DescMethod, signal: AbortSignal | undefined): unknown {
  if (!(reason instanceof ConnectError) || reason.isWireError || signal?.aborted === true) return reason;
  const isLost = [Code.Canceled, Code.Aborted, Code.Unavailable].includes(reason.code);
  if (!isLost) return reason;
  const words = reason.code === Code.Unavailable ? reason.rawMessage : "the connection to the server was lost";
  const isRead = method.methodKind !== "unary" || method.idempotency === Idempotency.NO_SIDE_EFFECTS;
  const message = isRead || neverSent(reason) ? words : `${words}: it may have been done`;
  return new ConnectError(message, Code.Unavailable, reason.metadata, undefined, reason);
}

function neverSent({ cause }: ConnectError): boolean {
  return cause instanceof Error && "code" in cause && (cause.code === "ECONNREFUSED" || cause.code === "ENOTFOUND");
}

function openConnections(options: GrpcTransportOptions, certificates: Certificates | undefined): Connections {
  const { baseUrl, defaultTimeoutMs, readMaxBytes = 32 * 1024 * 1024 } = options;
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs, pingTimeoutMs, idleConnectionTimeoutMs },
    certificates === undefined ? undefined : { ...certificates, minVersion: "TLSv1.3" },
  );
  const guarded = new WeakSet<ClientHttp2Session>();
  const transport = createConnectGrpcTransport({
    baseUrl,
    sessionManager: {
      authority: sessionManager.authority,
      async request(...call) {
        const stream = await sessionManager.request(...call);
        const { session } = stream;
        if (session !== undefined && !guarded.has(session as ClientHttp2Session)) {
          guarded.add(session as ClientHttp2Session);
          // The manager lets go of a session that it gives up before that tells of its error, which would end the process.
          session.on("error", () => undefined);
        }
        return stream;
      },
      notifyResponseByteRead: (stream) => sessionManager.notifyResponseByteRead(stream),
    },
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
