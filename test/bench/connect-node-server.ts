/** connect-node's own handler, for the same method, on HTTP/1.1 and on HTTP/2 without TLS. */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { SystemService } from "@millrace/protocol";
import { serveBench } from "./child.ts";

await serveBench<{ port: number; http2Port: number }>(async ({ port, http2Port }) => {
  const handler = connectNodeAdapter({
    routes(router) {
      router.service(SystemService, {
        getInfo: () => ({ name: "millrace", version: "0.1.0", node: "bench", startedAt: { seconds: 0n, nanos: 0 } }),
      });
    },
  });
  const one = createServer(handler);
  const two = createHttp2Server({}, handler);
  await new Promise<void>((resolve) => one.listen(port, "127.0.0.1", resolve));
  await new Promise<void>((resolve) => two.listen(http2Port, "127.0.0.1", resolve));
  return {
    work: async () => ({}),
    stop: async () => {
      one.closeAllConnections();
      one.close();
      two.close();
    },
  };
});
