/** Millrace's own handlers for the same method, in a bare server: what the gateway serves it with. */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { GetInfoResponseSchema, SystemService } from "@millrace/protocol";
import { bindService, createGrpcHandler, createHttpHandler, createPipeline } from "@millrace/rpc";
import { serveBench } from "./child.ts";

await serveBench<{ port: number; http2Port: number }>(async ({ port, http2Port }) => {
  const answer = create(GetInfoResponseSchema, {
    name: "millrace",
    version: "0.1.0",
    node: "bench",
    startedAt: timestampFromMs(0),
  });
  const pipeline = createPipeline({ services: [bindService(SystemService, { getInfo: () => answer })] });
  const one = createServer(createHttpHandler(pipeline, {}));
  const two = createHttp2Server();
  two.on("stream", createGrpcHandler(pipeline, {}));
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
