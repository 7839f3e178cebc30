import type { Server, Socket } from "node:net";
import { limitKey, plainAddress } from "./caller-address.ts";
import type { RefusalReason } from "./refusals.ts";
import { TokenBucket, type BucketRate } from "./token-bucket.ts";

export interface ConnectionLimitOptions {
  /** Of each server. */
  readonly maxConnections: number;
  /** Of one address, to all servers together. Looked up at each connection, so it may change. */
  readonly maxPerAddress: number;
  /** The peers are proxies of ours, which many callers share: only the limit of all holds. */
  readonly behindProxies: boolean;
  readonly onRefused: (reason: RefusalReason) => void;
}

/** Connections that one address opens: a browser needs six, a client without keep-alive one for each call. */
const openingRate: BucketRate = { perSecond: 500, burst: 2_000 };

const shutMs = 20_000;
/** Connections that had to be ended for what came over them. An address that has used these up opens none for a while. */
const abuseRate: BucketRate = { perSecond: 1 / 20, burst: 2 };

interface Caller {
  connections: number;
  readonly openings: TokenBucket;
  readonly abuses: TokenBucket;
  /** No connection is taken before; on the clock of `performance.now()`. */
  shutUntil: number;
}

/** How many connections there may be, in all and from one address. One too many costs no more than its accepting. */
export class ConnectionLimits implements Disposable {
  readonly #options: ConnectionLimitOptions;
  readonly #callers = new Map<string, Caller>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: ConnectionLimitOptions) {
    this.#options = options;
    // An address is known as long as it has connections, and until its bucket would be full again.
    this.#sweeper = setInterval(() => this.#forget(), (openingRate.burst / openingRate.perSecond) * 1000);
    this.#sweeper.unref();
  }

  /** Stands before a server that does not listen yet. */
  guard(server: Server): void {
    server.maxConnections = this.#options.maxConnections;
    server.on("drop", () => this.#options.onRefused("connections"));
    if (this.#options.behindProxies) return;
    const listeners = server.listeners("connection");
    server.removeAllListeners("connection");
    server.on("connection", (socket: Socket) => {
      if (!this.#admit(socket)) {
        socket.destroy();
        return;
      }
      for (const listener of listeners) listener.call(server, socket);
    });
  }

  /** A connection from there was ended for abuse. */
  blame(address: string): void {
    const caller = this.#callers.get(keyOf(address));
    const now = performance.now();
    if (caller !== undefined && caller.abuses.take(1, abuseRate, now) === 0) caller.shutUntil = now + shutMs;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }

  #admit(socket: Socket): boolean {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) return false; // gone already
    const key = keyOf(remoteAddress);
    const now = performance.now();
    let caller = this.#callers.get(key);
    if (caller === undefined) {
      const [openings, abuses] = [new TokenBucket(openingRate, now), new TokenBucket(abuseRate, now)];
      caller = { connections: 0, openings, abuses, shutUntil: 0 };
      this.#callers.set(key, caller);
    }
    const known = caller;
    if (now < known.shutUntil) {
      this.#options.onRefused("abuse");
      return false;
    }
    if (known.connections >= this.#options.maxPerAddress || known.openings.take(1, openingRate, now) === 0) {
      this.#options.onRefused("address_connections");
      return false;
    }
    known.connections += 1;
    socket.once("close", () => (known.connections -= 1));
    return true;
  }

  #forget(): void {
    const now = performance.now();
    for (const [key, { connections, openings, abuses }] of this.#callers) {
      const clean = openings.isFull(openingRate, now) && abuses.isFull(abuseRate, now);
      if (connections === 0 && clean) this.#callers.delete(key);
    }
  }
}

function keyOf(address: string): string {
  return limitKey(plainAddress(address));
}
