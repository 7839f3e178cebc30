import { once } from "node:events";
import { createServer } from "node:http";
import { createOpsHandler, type OpsContext } from "./create-ops-handler.ts";

export interface OpsServerOptions extends OpsContext {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

export interface OpsServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves health and metrics for a process that has no other HTTP door. */
export async function startOpsServer({ host, port, ...context }: OpsServerOptions): Promise<OpsServer> {
  const handle = createOpsHandler(context);
  const server = createServer((request, response) => {
    if (!handle(request, response)) response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
  });
  server.requestTimeout = 5_000;
  server.maxConnections = 64;
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
