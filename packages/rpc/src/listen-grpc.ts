import { once } from "node:events";
import { createSecureServer, createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import { checkServerIdentity, TLSSocket } from "node:tls";
import { CertificateFiles, type BusLogger, type CertificatePaths } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import { createGrpcHandler } from "./http-handler.ts";
import type { Pipeline } from "./pipeline.ts";

export interface GrpcSecurity {
  readonly certificates: Required<CertificatePaths>;
  /** Names, one of which a client's certificate must be for: who may call is who may say for whom. */
  readonly peers: readonly string[];
}

/** Calls that run may end within this time when the service stops. */
const drainMs = 5_000;
const loopback = new Set(["127.0.0.1", "::1", "localhost"]);

/**
 * Serves a pipeline by gRPC to gateways: over mTLS, whose certificates are followed when their files change, or in clear on the
 * loopback.
 * @throws MillraceError failed_precondition without certificates on any other address
 */
export async function listenGrpc(
  pipeline: Pipeline,
  address: { readonly host: string; readonly port: number },
  security: GrpcSecurity | undefined,
  logger: BusLogger,
): Promise<AsyncDisposable & { readonly port: number }> {
  if (security === undefined && !loopback.has(address.host)) {
    throw new MillraceError("failed_precondition", `gRPC on ${address.host} needs tlsCa, tlsCert and tlsKey`);
  }
  using starting = new DisposableStack();
  const sessions = new Set<ServerHttp2Session>();
  const server =
    security === undefined
      ? createServer()
      : starting.use(secureServer(security.certificates, sessions, logger)).server;
  server.on("session", (session: ServerHttp2Session) => {
    if (security !== undefined && !isPeer(session, security.peers)) {
      logger.warn({ address: session.socket.remoteAddress }, "gRPC refused: the certificate is not a gateway's");
      return session.destroy();
    }
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", createGrpcHandler(pipeline));
  server.listen(address.port, address.host);
  await once(server, "listening");
  const bound = server.address();
  const running = starting.move();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : address.port,
    async [Symbol.asyncDispose]() {
      running.dispose();
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.close();
      const cut = setTimeout(() => {
        for (const session of sessions) session.destroy();
      }, drainMs);
      await closed;
      clearTimeout(cut);
    },
  };
}

function secureServer(
  paths: CertificatePaths,
  sessions: ReadonlySet<ServerHttp2Session>,
  logger: BusLogger,
): Disposable & { readonly server: Http2Server } {
  const files = new CertificateFiles(paths, logger);
  const policy = { requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" } as const;
  const server = createSecureServer({ ...policy, ...files.current });
  files.onChange(() => {
    server.setSecureContext({ minVersion: policy.minVersion, ...files.current });
    // Their calls end first; the next connections show and see the new certificates.
    for (const session of sessions) session.close();
  });
  return { server, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

function isPeer({ socket }: ServerHttp2Session, names: readonly string[]): boolean {
  if (!(socket instanceof TLSSocket)) return false;
  const certificate = socket.getPeerCertificate();
  return names.some((name) => checkServerIdentity(name, certificate) === undefined);
}
