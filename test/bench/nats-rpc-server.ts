/** GetInfo from memory, over the NATS transport. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { connectBus } from "@millrace/bus";
import { GetInfoResponseSchema, SystemService } from "@millrace/protocol";
import { bindService, createPipeline, serveNats } from "@millrace/rpc";
import { serveBench } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const bus = await connectBus({ servers: `nats://127.0.0.1:${port}`, name: "bench-rpc-server" });
  const answer = create(GetInfoResponseSchema, {
    name: "millrace",
    version: "0.1.0",
    node: "bench",
    startedAt: timestampFromMs(0),
  });
  const pipeline = createPipeline({ services: [bindService(SystemService, { getInfo: () => answer })] });
  const serving = serveNats(bus, pipeline);
  return {
    work: async () => ({}),
    stop: async () => {
      await (await serving)[Symbol.asyncDispose]();
      await bus[Symbol.asyncDispose]();
    },
  };
});
