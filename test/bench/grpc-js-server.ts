/** A `@grpc/grpc-js` server that answers the same method from memory. */
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import { serveBench } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const definition = loader.loadSync("millrace/system/v1/system_service.proto", {
    includeDirs: [join(import.meta.dirname, "../../proto")],
  });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as {
    millrace: { system: { v1: { SystemService: { service: grpc.ServiceDefinition } } } };
  };
  const server = new grpc.Server();
  server.addService(loaded.millrace.system.v1.SystemService.service, {
    GetInfo(_call: unknown, reply: grpc.sendUnaryData<object>) {
      reply(null, { name: "millrace", version: "0.1.0", node: "bench", startedAt: { seconds: 0, nanos: 0 } });
    },
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return { work: async () => ({}), stop: async () => server.forceShutdown() };
});
