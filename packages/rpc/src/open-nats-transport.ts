import { connectBus, type BusOptions } from "@millrace/bus";
import type { Transport } from "@connectrpc/connect";
import { createNatsTransport, type NatsTransportOptions } from "./nats-transport.ts";

/** A NATS transport with a connection of its own, for a process that does nothing else with NATS. */
export async function openNatsTransport(
  bus: BusOptions,
  options: NatsTransportOptions = {},
): Promise<Transport & AsyncDisposable> {
  const connection = await connectBus(bus);
  const transport = createNatsTransport(connection, options);
  return {
    unary: transport.unary.bind(transport),
    stream: transport.stream.bind(transport),
    async [Symbol.asyncDispose]() {
      await transport[Symbol.asyncDispose]();
      await connection[Symbol.asyncDispose]();
    },
  };
}
