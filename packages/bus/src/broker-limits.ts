import { eventsStream, jobLogs } from "@millrace/protocol";
import type { JetStreamApi } from "./jetstream-api.ts";

/** What one stream may hold, and holds. */
export interface StreamLimits {
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
  /** −1: no bound. */
  readonly maxBytes: number;
  /** 0: no bound. */
  readonly maxAgeMs: number;
  readonly consumers: number;
  /** −1: as many as the broker allows to a stream. */
  readonly maxConsumers: number;
  readonly replicas: number;
}

export interface BrokerLimits {
  /** The largest message, headers included. */
  readonly maxPayloadBytes: number;
  /** The logs and `EVENTS`, as the broker says that they are. */
  readonly streams: readonly StreamLimits[];
}

/** @throws BusError not_found when a stream is missing */
export async function brokerLimits(api: JetStreamApi): Promise<BrokerLimits> {
  const streams = await Promise.all([...jobLogs, eventsStream].map((name) => streamLimits(api, name)));
  return { maxPayloadBytes: api.link.maxPayloadBytes, streams };
}

async function streamLimits(api: JetStreamApi, name: string): Promise<StreamLimits> {
  const info = await api.requestPatiently(`STREAM.INFO.${name}`, undefined);
  const [config, state] = [info.object("config"), info.object("state")];
  return {
    name,
    messages: state.number("messages"),
    bytes: state.number("bytes"),
    maxBytes: config.number("max_bytes"),
    maxAgeMs: config.number("max_age") / 1_000_000,
    consumers: state.number("consumer_count"),
    maxConsumers: config.number("max_consumers"),
    replicas: config.number("num_replicas"),
  };
}
