import type { Bus, BusOptions } from "@millrace/bus";
import type { Publisher, PublisherLimits } from "./publisher.ts";

export type PublisherOptions = PublisherLimits &
  (
    | {
        /** `nats://host:port`, one or several with commas. */
        readonly natsUrl: string;
        /** Credentials, TLS, log. */
        readonly connection?: Partial<Omit<BusOptions, "servers">>;
      }
    | {
        /** A connection that its owner closes. */
        readonly bus: Bus;
      }
  );

/**
 * Connects to NATS, or takes a connection, and publishes jobs over it.
 * @throws MillraceError unavailable when no NATS server answers
 */
export async function createPublisher(options: PublisherOptions): Promise<Publisher> {
  // Loaded here: who only calls the services does not pay for a NATS client and a validator.
  const { Publisher } = await import("./publisher.ts");
  if ("bus" in options) return new Publisher(options.bus, options, false);
  const { connectBus } = await import("@millrace/bus");
  const bus = await connectBus({ name: "millrace-publisher", ...options.connection, servers: options.natsUrl });
  return new Publisher(bus, options, true);
}
