import { inboxOf } from "./inbox.ts";
import type { BrokerUser } from "./broker-users.ts";
import type { TopologyOptions } from "./ensure-topology.ts";
import type { BusOptions } from "./link.ts";

/** What a service is told about its broker; see `brokerSettings` of service-kit. */
export interface BrokerSettings extends StreamSettings {
  /** `nats://host:port`, or `tls://host:port`, one or several with commas. */
  readonly natsUrl: string;
  readonly natsSeedFile?: string | undefined;
  readonly natsCredsFile?: string | undefined;
  /** Made by another user; true by default with a seed, whose user may not. */
  readonly natsStreamsGiven?: boolean | undefined;
  readonly natsPrefix?: string | undefined;
  readonly natsDomain?: string | undefined;
  readonly tlsCa?: string | undefined;
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
}

/** How streams are made; see `streamSettings` of service-kit. */
export interface StreamSettings {
  readonly natsReplicas?: number | undefined;
  readonly jobStreamBytes?: number | undefined;
  readonly scheduleStreamBytes?: number | undefined;
  readonly eventsBytes?: number | undefined;
}

/** How a service connects: as its user where it was given the key of one, by TLS where the address says so. */
export function brokerOptions(user: BrokerUser, settings: BrokerSettings): BusOptions {
  const { natsUrl, natsSeedFile, natsCredsFile, natsStreamsGiven, natsPrefix, natsDomain } = settings;
  const { tlsCa, tlsCert, tlsKey } = settings;
  const secure = natsUrl.startsWith("tls://");
  return {
    servers: natsUrl,
    name: user,
    inboxPrefix: inboxOf(user),
    topology: topologyOptions(settings),
    topologyGiven: natsStreamsGiven ?? natsSeedFile !== undefined,
    ...(natsSeedFile === undefined ? {} : { seedFile: natsSeedFile }),
    ...(natsCredsFile === undefined ? {} : { credsFile: natsCredsFile }),
    ...(natsPrefix === undefined ? {} : { prefix: natsPrefix }),
    ...(natsDomain === undefined ? {} : { domain: natsDomain }),
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

/** What the settings leave out stays as it is. */
export function topologyOptions(settings: StreamSettings): TopologyOptions {
  const { natsReplicas: replicas, jobStreamBytes, scheduleStreamBytes, eventsBytes } = settings;
  return { replicas, limits: { jobStreamBytes, scheduleStreamBytes, eventsBytes } };
}
