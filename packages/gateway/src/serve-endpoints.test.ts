import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { PluginRuntimeService, WatchExtensionsResponseSchema } from "@millrace/protocol";
import { BodyWatch, bindService, createDirectTransport, createHttpHandler, createPipeline } from "@millrace/rpc";
import { createLogger } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { ExtensionFeed } from "./extension-feed.ts";
import { serveEndpoints } from "./serve-endpoints.ts";

test("whoever sends an endpoint a body too slowly is told so, and does not keep the connection", async () => {
  await using stack = new AsyncDisposableStack();
  const pipeline = createPipeline({
    services: [
      bindService(PluginRuntimeService, {
        async *watchExtensions(_request, { signal }) {
          const plugins = [{ name: "web", endpoints: [{ path: "in", export: "in" }] }];
          yield create(WatchExtensionsResponseSchema, { plugins });
          await once(signal, "abort");
        },
        invokePlugin: () => ({ output: Buffer.from("{}") }),
      }),
    ],
  });
  const logger = createLogger({ name: "gateway", level: "silent" });
  const feed = stack.use(new ExtensionFeed(createDirectTransport(pipeline), logger));
  await feed.known;
  const bodies = stack.use(new BodyWatch({ timeoutMs: 50, maxHeldBytes: 1024 }));
  const serve = serveEndpoints(feed, pipeline, logger);
  const server = createServer(createHttpHandler(pipeline, { bodies, serve }));
  stack.defer(() => void server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
  socket.write("POST /ext/web/in HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nx");
  await once(socket, "close");
  expect(answer).toMatch(/^HTTP\/1\.1 504 /);
  expect(answer).toContain("the request came too slowly");
});
