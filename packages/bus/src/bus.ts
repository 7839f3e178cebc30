import { buckets, eventsStream, jobStream, moduleBucket, priorityNames, type PriorityLevel } from "@millrace/protocol";
import { nuid, type Subscription } from "nats";
import { BrokerClock } from "./broker-clock.ts";
import { natsCodes } from "./bus-error.ts";
import { brokerLimits, type BrokerLimits } from "./broker-limits.ts";
import type { BusLogger } from "./bus-logger.ts";
import { BusMessage } from "./bus-message.ts";
import { EncodedHeaders, encodeHeaders, type HeaderList } from "./encode-headers.ts";
import {
  ensureQueueConsumers,
  findQueueConsumer,
  type QueueConsumer,
  type QueueConsumerOptions,
} from "./ensure-queue-consumers.ts";
import { ensureTopology, type TopologyOptions } from "./ensure-topology.ts";
import { refuseFormerJobs, requireLogs } from "./former-streams.ts";
import { passedOn } from "./passed-on.ts";
import type { InboxPurpose } from "./inbox.ts";
import { JetStreamApi } from "./jetstream-api.ts";
import { KvBucket } from "./kv-bucket.ts";
import { holdsSubject, lastMessage, type LoggedMessage } from "./last-message.ts";
import { LeaderLease } from "./leader-lease.ts";
import { Link, type BusOptions, type BusStatus } from "./link.ts";
import { LogUpkeep } from "./log-upkeep.ts";
import { ModuleStore } from "./module-store.ts";
import { pause, within } from "./pause.ts";
import { PipelinedPublisher, type OutgoingMessage, type PublisherOptions } from "./pipelined-publisher.ts";
import type { PublishAck } from "./publish-ack.ts";
import { PullHub, type PullHandlers, type PullOptions } from "./pull-hub.ts";
import { RequestMux } from "./request-mux.ts";
import { serverInfo, type ServerInfo } from "./server-info.ts";
import { StreamReader, type ReadOptions } from "./stream-reader.ts";
import { consumerState, listConsumers, streamState, type ConsumerState, type StreamState } from "./stream-state.ts";
import {
  ensureUpgradeBuckets,
  planUpgrade,
  upgradeStreams,
  type UpgradedLog,
  type UpgradeOptions,
  type UpgradeStep,
} from "./upgrade-streams.ts";
import { watchFill, type FillOptions } from "./watch-fill.ts";
import { WireWriter } from "./wire-writer.ts";

export interface SendOptions {
  readonly reply?: string;
  readonly headers?: HeaderList | EncodedHeaders;
}

/** With new certificates the connection is remade when no request waits, or after so long. */
const renewPatienceMs = 2000;
/** Not all processes at the same moment. */
const renewSpreadMs = 1000;
/** A bus that closes waits no longer for its readers and publishers: whoever waits for an answer still is told that there is none. */
const closeWaitMs = 3000;
/** Longer than the publishers wait for the first answer. */
const unstoredMs = 6000;
const encoder = new TextEncoder();
const acked = encoder.encode("+ACK");
const working = encoder.encode("+WPI");
const terminated = encoder.encode("+TERM");
const refused = encoder.encode("-NAK");

/** All that a process does with NATS, over one connection. */
export class Bus implements AsyncDisposable {
  /** This machine's own, until somebody observes the broker's. */
  readonly clock = new BrokerClock();
  readonly #link: Link;
  /** Of others than the broker. */
  readonly #requests: RequestMux;
  readonly #mux: RequestMux;
  readonly #renewing: Disposable;
  readonly #api: JetStreamApi;
  readonly #pulls: PullHub;
  readonly #writer: WireWriter;
  readonly #publishers = new Set<PipelinedPublisher>();
  readonly #readers = new Set<AsyncDisposable>();
  #publisher: PipelinedPublisher | undefined;

  constructor(link: Link) {
    this.#link = link;
    this.#requests = new RequestMux(link, link.newInbox("answers"));
    this.#mux = new RequestMux(link, link.newInbox());
    this.#api = new JetStreamApi(link, this.#mux);
    this.#pulls = new PullHub(link);
    this.#writer = new WireWriter(link);
    this.#renewing = link.onCertificates(() => void this.#renew());
  }

  /** The broker behind the connection of this moment. */
  get info(): ServerInfo {
    return serverInfo(this.#link.client.info);
  }

  /** Of one run of a broker: another after its restart. */
  get serverId(): string {
    return this.#link.client.info?.server_id ?? "";
  }

  get logger(): BusLogger {
    return this.#link.logger;
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  /** Callbacks that threw: each is a bug, and has an error in the log. */
  get callbackFailures(): number {
    return this.#link.callbackFailures;
  }

  /**
   * What the broker does not store though it was asked to twice, and why, as far as it says; undefined when there is no such message.
   * A broker whose disk is full answers all else.
   */
  get unstored(): string | undefined {
    const nowMs = Date.now();
    for (const { oldest } of this.#publishers) {
      if (oldest === undefined || nowMs - oldest.sinceMs < unstoredMs) continue;
      // Too much at once is no trouble of the broker's.
      if (oldest.refusal?.natsCode === natsCodes.tooManyRequests) continue;
      const forS = Math.round((nowMs - oldest.sinceMs) / 1000);
      const answer = oldest.refusal?.message ?? "it does not answer";
      return `the broker has not stored a message for ${forS} s: ${answer}`;
    }
    return undefined;
  }

  get status(): BusStatus {
    return this.#link.status;
  }

  onStatus(listener: (status: BusStatus) => void): Disposable {
    return this.#link.onStatus(listener);
  }

  /** @throws BusError unavailable when the bus is closed first */
  whenConnected(): Promise<void> {
    return this.#link.whenConnected();
  }

  // Core: at most once.

  /** @returns false when there is no connection: the message went nowhere */
  publish(subject: string, data: Uint8Array, options: SendOptions = {}): boolean {
    return this.#link.publish(subject, data, options.reply, encoded(options.headers));
  }

  /**
   * Messages on a subject; with `queue`, each goes to one of that group. What the callback throws goes to the log. What JetStream was
   * made to send there is left out: see passedOn.
   */
  subscribe(subject: string, options: { queue?: string }, onMessage: (message: BusMessage) => void): Disposable {
    const subscription: Subscription = this.#link.subscribe(
      subject,
      (message) => {
        const received = new BusMessage(message, this.#link.namespace);
        if (passedOn(received, subject)) this.logger.warn({ subject }, "message that JetStream was made to pass on");
        // As it may be a promise, whose rejection is caught there.
        else return onMessage(received);
      },
      options.queue,
    );
    return {
      [Symbol.dispose]: () => {
        if (!subscription.isClosed()) subscription.unsubscribe();
      },
    };
  }

  /** A fresh subject for answers; subscribe to it, or to `<inbox>.*`. */
  newInbox(purpose?: InboxPurpose): string {
    return this.#link.newInbox(purpose);
  }

  /** @throws BusError unavailable (nobody listens, or no connection), deadline_exceeded, resource_exhausted, out_of_range */
  async request(
    subject: string,
    data: Uint8Array,
    options: { timeoutMs: number; headers?: HeaderList | EncodedHeaders },
  ): Promise<BusMessage> {
    const headers = encoded(options.headers);
    return this.#requests.request(subject, data, {
      timeoutMs: options.timeoutMs,
      ...(headers === undefined ? {} : { headers }),
    });
  }

  /** Resolves when the broker has everything that was published before. Rejects when the connection is lost first. */
  async flush(): Promise<void> {
    await this.#link.whenConnected();
    await this.#link.client.flush();
  }

  // Streams.

  /**
   * Makes what is missing or differs, unless the streams are another user's business (`topologyGiven`). What `options` leaves out
   * is as the connection was told (`BusOptions.topology`).
   */
  async ensureTopology(options: TopologyOptions = {}): Promise<void> {
    if (!this.#link.topologyGiven) await ensureTopology(this.#api, { ...this.#link.topology, ...options });
  }

  /** How large a message may be, and what the logs and `EVENTS` hold and may hold. */
  limits(): Promise<BrokerLimits> {
    return brokerLimits(this.#api);
  }

  /**
   * For who works on logs whether or not it makes them: that none is a stream of a former version. Who trims them asks for more, that
   * none is half upgraded.
   * @throws BusError failed_precondition
   */
  async requireLogs(options: { readonly whole?: boolean } = {}): Promise<void> {
    await requireLogs(this.#api, priorityNames.map(jobStream));
    if (options.whole === true) await refuseFormerJobs(this.#api);
  }

  /**
   * For who migrates the database and has nothing to do with logs: a former version must find it as it was while its jobs wait. Does
   * nothing where the streams are another user's business, as its own user may not see them.
   * @throws BusError failed_precondition
   */
  async refuseFormerJobs(): Promise<void> {
    if (!this.#link.topologyGiven) await refuseFormerJobs(this.#api);
  }

  /** Which streams of jobs are of a former version; see upgradeStreams. */
  planUpgrade(): Promise<UpgradeStep[]> {
    return planUpgrade(this.#api);
  }

  /** Makes logs of them. One process at a time: the others wait. */
  async upgradeStreams(options: UpgradeOptions = {}): Promise<UpgradedLog[]> {
    await ensureUpgradeBuckets(this.#api);
    const never = new AbortController().signal;
    await using lease = await LeaderLease.acquire(this, "upgrade", nuid.next(), options.signal ?? never);
    if (lease === undefined) return [];
    const signal = AbortSignal.any([lease.over, ...(options.signal === undefined ? [] : [options.signal])]);
    return await upgradeStreams(this.#api, this.kv("consumers"), { ...options, signal });
  }

  /** @returns what has to be looked up of what they deliver; see QueueConsumer */
  ensureQueueConsumers(queue: string, options: QueueConsumerOptions): Promise<readonly QueueConsumer[]> {
    return ensureQueueConsumers(this.#api, this.kv("consumers"), queue, options);
  }

  /** The consumer of a queue at one level; undefined when there is none. @throws BusError unavailable, deadline_exceeded */
  findQueueConsumer(queue: string, level: PriorityLevel): Promise<QueueConsumer | undefined> {
    return findQueueConsumer(this.#api, queue, level);
  }

  /** @throws BusError not_found */
  streamState(stream: string): Promise<StreamState> {
    return streamState(this.#api, stream);
  }

  /** When the stream was made, Unix ms. @throws BusError not_found */
  async streamCreatedMs(stream: string): Promise<number> {
    return (await streamState(this.#api, stream)).createdMs;
  }

  consumerState(stream: string, consumer: string): Promise<ConsumerState> {
    return consumerState(this.#api, stream, consumer);
  }

  listConsumers(stream: string): Promise<ConsumerState[]> {
    return listConsumers(this.#api, stream);
  }

  /** The newest message of a stream on a subject, which may have wildcards, as its leader has it; undefined when there is none. */
  lastMessage(stream: string, subject: string): Promise<LoggedMessage | undefined> {
    return lastMessage(this.#api, stream, { last_by_subj: subject });
  }

  /** Whether a stream holds a message on a subject, which may have wildcards. */
  holdsSubject(stream: string, subject: string): Promise<boolean> {
    return holdsSubject(this.#api, stream, subject);
  }

  /** What a stream holds at a place; undefined when that is nothing. */
  messageAt(stream: string, seq: number): Promise<LoggedMessage | undefined> {
    return lastMessage(this.#api, stream, { seq });
  }

  /** What the projector alone does to logs. */
  get upkeep(): LogUpkeep {
    return new LogUpkeep(this.#api, this.kv("consumers"));
  }

  watchFill(options: FillOptions): AsyncDisposable {
    return this.#own(watchFill(this.#api, options));
  }

  // Publishing into streams: at least once, stored once.

  /** A publisher with a window of its own; closed with the bus at the latest. */
  publisher(options: PublisherOptions = {}): PipelinedPublisher {
    const publisher = new PipelinedPublisher(
      this.#link,
      this.#writer,
      options,
      () => void this.#publishers.delete(publisher),
    );
    this.#publishers.add(publisher);
    return publisher;
  }

  /** By the bus's own publisher; see PipelinedPublisher.publish. */
  publishDurable(subject: string, data: Uint8Array, headers?: OutgoingMessage["headers"]): Promise<PublishAck> {
    return this.#defaultPublisher.publish({ subject, data, ...(headers === undefined ? {} : { headers }) });
  }

  // Consuming.

  /** One raw pull; ends in exactly one `onEnd`. */
  pull(stream: string, consumer: string, options: PullOptions, handlers: PullHandlers): void {
    this.#pulls.pull(stream, consumer, options, handlers);
  }

  /** @returns false when there is no connection: the message will be delivered again */
  ack(reply: string): boolean {
    return this.#link.publish(reply, acked);
  }

  /**
   * Acks many at once, for less than one at a time. @param replies `replyBytes` of their deliveries
   * @returns false when there is no connection: the messages will be delivered again
   */
  ackAll(replies: readonly Uint8Array[]): boolean {
    return this.#writer.ack(replies);
  }

  /** Gives a message back, to be delivered again after `delayMs`. */
  nak(reply: string, delayMs = 0): boolean {
    const data = delayMs > 0 ? encoder.encode(`-NAK {"delay":${Math.round(delayMs) * 1_000_000}}`) : refused;
    return this.#link.publish(reply, data);
  }

  /** Renews the lease by the consumer's ack wait. */
  inProgress(reply: string): boolean {
    return this.#link.publish(reply, working);
  }

  /** Ends a message for good, without success. */
  term(reply: string): boolean {
    return this.#link.publish(reply, terminated);
  }

  /** Reads any stream in order; see StreamReader. */
  readStream(options: ReadOptions): StreamReader {
    const reader = this.#own(new StreamReader(this.#api, this.#pulls, options));
    const forget = (): void => void this.#readers.delete(reader);
    reader.done.then(forget, forget);
    return reader;
  }

  /** Reads EVENTS in order from `startSeq`. */
  readEvents(options: Omit<ReadOptions, "stream" | "start"> & { readonly startSeq: number | "new" }): StreamReader {
    const { startSeq, ...rest } = options;
    return this.readStream({ ...rest, stream: eventsStream, start: startSeq === "new" ? "new" : { seq: startSeq } });
  }

  // Buckets.

  kv(bucket: keyof typeof buckets): KvBucket {
    return new KvBucket(this.#api, this.#pulls, buckets[bucket].name);
  }

  get modules(): ModuleStore {
    return new ModuleStore(this.#api, this.#pulls, this.#defaultPublisher, moduleBucket);
  }

  /**
   * Ends readers, waits for what publishers have in flight, then closes the connection. Within 5 s, whatever the broker does: what
   * nobody has answered by then fails as `unavailable`.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await within(closeWaitMs, this.#endAll());
    this.#renewing[Symbol.dispose]();
    this.#pulls[Symbol.dispose]();
    this.#mux[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    await this.#link[Symbol.asyncDispose]();
  }

  async #endAll(): Promise<void> {
    await Promise.all([...this.#readers].map((reader) => reader[Symbol.asyncDispose]()));
    await Promise.all([...this.#publishers].map((publisher) => publisher[Symbol.asyncDispose]()));
  }

  /** Requests that run may end first, within reason; whatever else is open goes on by itself after a reconnect. */
  async #renew(): Promise<void> {
    const deadline = Date.now() + renewPatienceMs + Math.random() * renewSpreadMs;
    while (Date.now() < deadline && this.#requests.pending + this.#mux.pending > 0) await pause(20);
    await this.#link.reconnect().catch((err: unknown) => this.logger.warn({ err }, "connection not renewed"));
  }

  get #defaultPublisher(): PipelinedPublisher {
    return (this.#publisher ??= this.publisher());
  }

  #own<T extends AsyncDisposable>(owned: T): T {
    this.#readers.add(owned);
    return owned;
  }
}

function encoded(headers: HeaderList | EncodedHeaders | undefined): EncodedHeaders | undefined {
  return headers === undefined || headers instanceof EncodedHeaders ? headers : encodeHeaders(headers);
}

/**
 * Connects to NATS and stays connected.
 * @throws BusError unavailable when no server answers in time, unauthenticated when it refuses the credentials
 */
export async function connectBus(options: BusOptions): Promise<Bus> {
  return new Bus(await Link.open(options));
}
