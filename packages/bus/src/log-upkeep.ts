import { BusError } from "./bus-error.ts";
import { queueConsumer, queueOfConsumer } from "@millrace/protocol";
import { createConsumer, decodeEntry, encodeEntry, type QueueEntry } from "./ensure-queue-consumers.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { KvBucket } from "./kv-bucket.ts";
import { decodeConsumerState, listConsumers, streamState, type ConsumerState } from "./stream-state.ts";

/** Processes that change the entry of one queue at the same moment. */
const mostConflicts = 10;

/** What nobody but the projector does to a log: broker permissions say so too. */
export class LogUpkeep {
  readonly #api: JetStreamApi;
  readonly #consumers: KvBucket;

  /** @param consumers the bucket of that name, by which workers hear that a consumer was made anew */
  constructor(api: JetStreamApi, consumers: KvBucket) {
    this.#api = api;
    this.#consumers = consumers;
  }

  /**
   * Removes everything below a sequence. That one stays, or the broker could forget the place of an empty stream.
   * @throws RangeError below 2, which means everything to a broker of 2.9, and above the log's last message, which means so to all
   */
  async purgeBelow(stream: string, seq: number): Promise<void> {
    if (seq < 2) throw new RangeError(`a purge below ${seq} would empty ${stream}`);
    const { lastSeq } = await streamState(this.#api, stream);
    if (seq > lastSeq) throw new RangeError(`a purge below ${seq} would empty ${stream}, which ends at ${lastSeq}`);
    await this.#api.requestPatiently(`STREAM.PURGE.${stream}`, { seq });
  }

  /** @returns false when there is no such message */
  async deleteMessage(stream: string, seq: number): Promise<boolean> {
    try {
      await this.#api.requestPatiently(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true });
      return true;
    } catch (error) {
      if (error instanceof BusError && /no message found|not found/i.test(error.message)) return false;
      throw error;
    }
  }

  /**
   * A broker that was killed may count on from before what its consumers have seen: it would give the next messages old numbers,
   * and the consumers would pass over them. Such a consumer is made anew, and sees all that is stored; what it delivers is looked up
   * before it runs.
   * @returns the names of those that were made anew
   */
  async turnBackConsumers(stream: string): Promise<string[]> {
    const turned: string[] = [];
    for (const { name, filter, deliveredSeq } of await listConsumers(this.#api, stream)) {
      // Asked in this order: the stream may have grown since, but its end is never behind what was delivered before.
      const { lastSeq } = await streamState(this.#api, stream);
      if (filter === "" || deliveredSeq <= lastSeq) continue;
      const info = await this.#api.find(`CONSUMER.INFO.${stream}.${name}`);
      if (info === undefined) continue;
      const config = info.object("config").raw();
      // Readers of no name of ours begin anew by themselves.
      if (config["durable_name"] === undefined) continue;
      await this.#api.requestPatiently(`CONSUMER.DELETE.${stream}.${name}`, undefined);
      const { opt_start_seq: _, ...kept } = config;
      const made = {
        deliver_policy: "all",
        description: `anew:${lastSeq}`,
        durable_name: name,
        filter_subject: filter,
      };
      await createConsumer(this.#api, stream, { ...kept, ...made });
      const queue = queueOfConsumer(name);
      if (queue !== undefined) await this.#noteAnew(queue, stream, lastSeq);
      turned.push(name);
    }
    return turned;
  }

  /**
   * Deletes the consumers of a queue that nothing waits for and nobody pulls from: each costs the broker, whether anything comes or not.
   * Where they begin when they are made anew stands in the bucket before the first one goes.
   * @returns false when something waits after all, a worker is making one, or there is none
   */
  async retireConsumers(queue: string, streams: readonly string[]): Promise<boolean> {
    const name = queueConsumer(queue);
    const entry = await this.#consumers.get(queue);
    const before = decodeEntry(entry?.value);
    const start = new Map(before.start);
    const anew = new Map<string, number>();
    const present: string[] = [];
    for (const stream of streams) {
      const { lastSeq } = await streamState(this.#api, stream);
      const info = await this.#api.find(`CONSUMER.INFO.${stream}.${name}`);
      if (info === undefined) {
        // What lies above where it is to begin is nobody's yet. Without such a place, nobody knows what waits.
        if (!before.start.has(stream)) return false;
        const bound = before.anew.get(stream);
        if (bound !== undefined) anew.set(stream, bound);
        continue;
      }
      const { pending, ackPending, waiting } = decodeConsumerState(info);
      if (pending + ackPending + waiting > 0) return false;
      start.set(stream, lastSeq + 1);
      present.push(stream);
    }
    if (present.length === 0) return false;
    const revision = await this.#note(queue, { start, anew }, entry?.revision);
    if (revision === undefined) return false;
    for (const stream of present) await this.#api.find(`CONSUMER.DELETE.${stream}.${name}`);
    for (const stream of present) anew.set(stream, (await streamState(this.#api, stream)).lastSeq);
    // Refused when a worker has made them anew meanwhile: then its word counts.
    await this.#note(queue, { start, anew }, revision);
    return true;
  }

  /** Tells workers that a consumer was made anew, and delivers again up to this sequence. */
  async #noteAnew(queue: string, stream: string, lastSeq: number): Promise<void> {
    for (let conflicts = 0; conflicts < mostConflicts; conflicts++) {
      const entry = await this.#consumers.get(queue);
      const { start, anew } = decodeEntry(entry?.value);
      const starts = new Map(start);
      starts.delete(stream);
      const noted = { start: starts, anew: new Map([...anew, [stream, lastSeq]]) };
      if ((await this.#note(queue, noted, entry?.revision)) !== undefined) return;
    }
    throw new BusError("aborted", `other processes change the entry of queue ${queue} all the time`);
  }

  /** @returns the new revision; undefined when the entry has another than this */
  async #note(queue: string, entry: QueueEntry, revision: number | undefined): Promise<number | undefined> {
    try {
      if (revision === undefined) return await this.#consumers.create(queue, encodeEntry(entry));
      return await this.#consumers.update(queue, encodeEntry(entry), revision);
    } catch (error) {
      if (error instanceof BusError && (error.code === "aborted" || error.code === "already_exists")) return undefined;
      throw error;
    }
  }

  /** Consumers of a log that acknowledge and are held to no part of it: a purge may lose what they have out (nats-server#3892). */
  async unfilteredConsumers(stream: string): Promise<ConsumerState[]> {
    const consumers = await listConsumers(this.#api, stream);
    return consumers.filter(({ filter, acks }) => acks && (filter === "" || filter === ">" || /^\w+\.>$/.test(filter)));
  }
}
