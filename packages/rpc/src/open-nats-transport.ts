import {
  brokerOptions,
  connectBus,
  probeBroker,
  type BrokerSettings,
  type BrokerUser,
  type BusLogger,
} from "@millrace/bus";
import type { Transport } from "@connectrpc/connect";
import { createNatsTransport } from "./nats-transport.ts";
import type { NatsTransportOptions } from "./pending-calls.ts";

export interface NatsTransport extends Transport, AsyncDisposable {
  /** Why nothing can be called, for health: the broker is away or hangs. */
  missing(): Promise<string | undefined>;
}

/** A NATS transport with a connection of its own, for a process that does nothing else with NATS. `signal` ends the wait for a broker. */
export async function openNatsTransport(
  user: BrokerUser,
  broker: BrokerSettings & { readonly logger?: BusLogger; readonly signal?: AbortSignal },
  options: NatsTransportOptions = {},
): Promise<NatsTransport> {
  const connection = await connectBus({
    ...brokerOptions(user, broker),
    ...(broker.logger === undefined ? {} : { logger: broker.logger }),
    ...(broker.signal === undefined ? {} : { signal: broker.signal }),
  });
  const transport = createNatsTransport(connection, options);
  return {
    unary: transport.unary.bind(transport),
    stream: transport.stream.bind(transport),
    missing: () => probeBroker(connection),
    async [Symbol.asyncDispose]() {
      await transport[Symbol.asyncDispose]();
      await connection[Symbol.asyncDispose]();
    },
  };
}
