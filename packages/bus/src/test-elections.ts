import { connect, type NatsConnection } from "nats";
import { JsonObject } from "./json.ts";

const advisories = "$JS.EVENT.ADVISORY.*.LEADER_ELECTED.>";
/** A node that was started again is heard again soon. */
const reconnectMs = 200;

/** A stream or consumer was given a leader. */
export interface Election {
  readonly stream: string;
  /** Undefined: of the stream itself. */
  readonly consumer: string | undefined;
  readonly leader: string;
  /** When the leader said so, Unix ms. */
  readonly atMs: number;
}

/** Hears from each server of a cluster who was elected, so that a test can tell the cluster's time from ours. */
export class TestElections implements AsyncDisposable {
  /** In the order in which they were heard of. */
  readonly all: Election[] = [];
  readonly #connections: readonly NatsConnection[];
  readonly #seen = new Set<string>();
  #news = Promise.withResolvers<void>();

  private constructor(connections: readonly NatsConnection[]) {
    this.#connections = connections;
    for (const connection of connections) {
      connection.subscribe(advisories, { callback: (error, message) => error === null && this.#hear(message.data) });
    }
  }

  /** @param urls of each server by itself: the word of one that still runs is enough */
  static async start(urls: readonly string[]): Promise<TestElections> {
    const options = { maxReconnectAttempts: -1, reconnectTimeWait: reconnectMs, ignoreClusterUpdates: true };
    const connections = await Promise.all(urls.map((servers) => connect({ ...options, servers })));
    const elections = new TestElections(connections);
    await Promise.all(connections.map((connection) => connection.flush()));
    return elections;
  }

  /** The last election of a stream or consumer between two moments, Unix ms; undefined: its leader stayed. */
  last(stream: string, consumer: string | undefined, fromMs: number, toMs: number): Election | undefined {
    return this.all.findLast(
      (one) => one.stream === stream && one.consumer === consumer && one.atMs >= fromMs && one.atMs <= toMs,
    );
  }

  /** The first election of a stream or consumer after a moment, Unix ms; waits for it. */
  async next(stream: string, consumer: string | undefined, fromMs: number): Promise<Election> {
    for (;;) {
      const found = this.all.find((one) => one.stream === stream && one.consumer === consumer && one.atMs >= fromMs);
      if (found !== undefined) return found;
      await this.#news.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  #hear(data: Uint8Array): void {
    const advisory = JsonObject.parse(data);
    const id = advisory.string("id");
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    this.all.push({
      stream: advisory.string("stream"),
      consumer: advisory.has("consumer") ? advisory.string("consumer") : undefined,
      leader: advisory.string("leader"),
      atMs: Date.parse(advisory.string("timestamp")),
    });
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }
}
