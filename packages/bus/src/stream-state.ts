import type { JetStreamApi } from "./jetstream-api.ts";
import { JsonObject } from "./json.ts";

export interface StreamState {
  readonly messages: number;
  /** On which it has messages. */
  readonly subjects: number;
  readonly bytes: number;
  /** −1: no bound. */
  readonly maxBytes: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly consumers: number;
  readonly createdMs: number;
  /** Servers that keep a copy. */
  readonly replicas: number;
}

/** @throws BusError not_found */
export async function streamState(api: JetStreamApi, stream: string): Promise<StreamState> {
  return decodeStreamState(await api.requestPatiently(`STREAM.INFO.${stream}`, undefined));
}

export function decodeStreamState(info: JsonObject): StreamState {
  const state = info.object("state");
  return {
    messages: state.number("messages"),
    subjects: state.number("num_subjects"),
    bytes: state.number("bytes"),
    maxBytes: info.object("config").number("max_bytes"),
    firstSeq: state.number("first_seq"),
    lastSeq: state.number("last_seq"),
    consumers: state.number("consumer_count"),
    createdMs: Math.floor(Date.parse(info.string("created"))),
    replicas: Math.max(1, info.object("config").number("num_replicas")),
  };
}

export interface ConsumerState {
  readonly name: string;
  readonly filter: string;
  /** Not delivered yet. */
  readonly pending: number;
  /** Delivered, and neither acked nor given back. */
  readonly ackPending: number;
  readonly redelivered: number;
  /** Pulls that are parked. */
  readonly waiting: number;
  /** Everything up to here was acked. */
  readonly ackFloorSeq: number;
  readonly deliveredSeq: number;
  /** Whether what it delivers is acknowledged at all. */
  readonly acks: boolean;
  /** The lease. */
  readonly ackWaitMs: number;
}

export function decodeConsumerState(info: JsonObject): ConsumerState {
  const config = info.object("config");
  return {
    name: info.string("name"),
    filter: config.string("filter_subject"),
    pending: info.number("num_pending"),
    ackPending: info.number("num_ack_pending"),
    redelivered: info.number("num_redelivered"),
    waiting: info.number("num_waiting"),
    ackFloorSeq: info.object("ack_floor").number("stream_seq"),
    deliveredSeq: info.object("delivered").number("stream_seq"),
    acks: config.string("ack_policy") !== "none",
    ackWaitMs: config.number("ack_wait") / 1_000_000,
  };
}

export async function consumerState(api: JetStreamApi, stream: string, consumer: string): Promise<ConsumerState> {
  return decodeConsumerState(await api.requestPatiently(`CONSUMER.INFO.${stream}.${consumer}`, undefined));
}

/** All consumers of a stream, page by page. */
export async function listConsumers(api: JetStreamApi, stream: string): Promise<ConsumerState[]> {
  const found: ConsumerState[] = [];
  for (;;) {
    const page = await api.requestPatiently(`CONSUMER.LIST.${stream}`, { offset: found.length });
    const consumers = page.list("consumers").map((item) => decodeConsumerState(new JsonObject(item)));
    found.push(...consumers);
    if (consumers.length === 0 || found.length >= page.number("total")) return found;
  }
}
