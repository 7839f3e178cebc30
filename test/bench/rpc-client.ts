/** Calls GetInfo with 50 calls in flight, over NATS or over HTTP/1.1 and JSON. */
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { connectBus } from "@millrace/bus";
import { SystemService } from "@millrace/protocol";
import { createNatsTransport } from "@millrace/rpc";
import { serveBench } from "./child.ts";

await serveBench<{ natsPort?: number; httpPort?: number }>(async ({ natsPort, httpPort }) => {
  let transport: Transport;
  if (natsPort === undefined) {
    transport = createConnectTransport({
      baseUrl: `http://127.0.0.1:${httpPort}`,
      httpVersion: "1.1",
      useBinaryFormat: false,
      nodeOptions: { agent: new (await import("node:http")).Agent({ keepAlive: true, maxSockets: 50 }) },
    });
  } else {
    const bus = await connectBus({ servers: `nats://127.0.0.1:${natsPort}`, name: "bench-rpc-client" });
    transport = createNatsTransport(bus);
  }
  const client = createClient(SystemService, transport);
  return {
    async work({ calls }) {
      const total = Number(calls);
      let left = total;
      const start = performance.now();
      await Promise.all(
        Array.from({ length: 50 }, async () => {
          while (left-- > 0) await client.getInfo({});
        }),
      );
      return { perSecond: (total / (performance.now() - start)) * 1000 };
    },
    stop: async () => process.exit(0),
  };
});
