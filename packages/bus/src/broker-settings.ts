import { inboxOf } from "./inbox.ts";
import type { BrokerUser } from "./broker-users.ts";
import type { BusOptions } from "./link.ts";

/** What a service is told about its broker; see `natsSettings` of service-kit. */
export interface BrokerSettings {
  /** `nats://host:port`, or `tls://host:port`, one or several with commas. */
  readonly natsUrl: string;
  readonly natsSeedFile?: string | undefined;
  readonly tlsCa?: string | undefined;
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
}

/** How a service connects: as its user where it was given the key of one, by TLS where the address says so. */
export function brokerOptions(user: BrokerUser, settings: BrokerSettings): BusOptions {
  const { natsUrl, natsSeedFile, tlsCa, tlsCert, tlsKey } = settings;
  const secure = natsUrl.startsWith("tls://");
  return {
    servers: natsUrl,
    name: user,
    inboxPrefix: inboxOf(user),
    ...(natsSeedFile === undefined ? {} : { seedFile: natsSeedFile, topologyGiven: true }),
    // Without an authority of one's own, those that the runtime trusts.
    ...(secure && tlsCa === undefined ? { tls: {} } : {}),
    ...(secure && tlsCa !== undefined
      ? {
          certificates: {
            ca: tlsCa,
            ...(tlsCert === undefined ? {} : { cert: tlsCert }),
            ...(tlsKey === undefined ? {} : { key: tlsKey }),
          },
        }
      : {}),
  };
}
