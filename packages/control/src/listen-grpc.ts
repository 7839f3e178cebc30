import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import { createGrpcHandler, type Pipeline } from "@millrace/rpc";

/** Calls that run may end within this time when the service stops. */
const drainMs = 5_000;

/** Serves a pipeline by gRPC over cleartext HTTP/2, for gateways on a trusted network. */
export async function listenGrpc(pipeline: Pipeline, host: string, port: number): Promise<AsyncDisposable> {
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", createGrpcHandler(pipeline));
  server.listen(port, host);
  await once(server, "listening");
  return {
    async [Symbol.asyncDispose]() {
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
