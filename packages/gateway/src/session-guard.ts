import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { limitKey, plainAddress } from "./caller-address.ts";
import type { RefusalReason } from "./refusals.ts";
import { TokenBucket, type BucketRate } from "./token-bucket.ts";

/** Streams of one connection at one time. */
export const maxConcurrentStreams = 1_000;
/** A connection is asked to go, and its caller to open another, after so many: nothing adds up for ever. */
const maxStreamsPerSession = 100_000;
/** Streams of all connections; with maxConnections times maxConcurrentStreams there would be no bound. */
const maxStreams = 20_000;
/** Of those, of one address. */
const maxStreamsPerAddress = 5_000;
/** Streams that a caller gave up: all of a connection at once, as when a deadline is over, and then slowly. */
const resetRate: BucketRate = { perSecond: 100, burst: maxConcurrentStreams };
/** Those that were given up as soon as they were there (CVE-2023-44487), which no deadline asks for. */
const rapidResetRate: BucketRate = { perSecond: 10, burst: 50 };
const rapidMs = 20;
/** gRPC libraries measure a connection with pings, some for each piece that they read. */
const pingRate: BucketRate = { perSecond: 100, burst: 1_000 };
const settingsRate: BucketRate = { perSecond: 10, burst: 50 };
/** What may still come of calls that were answered before their bodies were read: a flow-control window of the largest kind. */
const maxLeftBytes = 32 * 1024 * 1024;
const sweepMs = 5_000;
/** A connection has to begin with its settings within. */
const helloMs = 15_000;
/** A connection on which nothing happens is asked whether it is still there, */
const idleMs = 120_000;
const pingTimeoutMs = 10_000;
/** and one on which nothing is called for so long is asked to go. */
const unusedMs = 600_000;
/** Calls that were on their way when a connection was asked to go still come in. */
const retiringMs = 5_000;
const lastStreamId = 2 ** 31 - 1;

interface Peer {
  sessions: number;
  streams: number;
}

interface SessionState {
  readonly address: string;
  readonly peer: Peer;
  /** Ever, and open ones. */
  streams: number;
  open: number;
  unusedSince: number;
  /** What had been read, and of how many streams, when it was first seen without an open one. */
  left: { readonly streams: number; readonly bytesRead: number } | undefined;
  readonly resets: TokenBucket;
  readonly rapidResets: TokenBucket;
}

export interface SessionGuardOptions {
  /** The peers are proxies of ours, which many callers share. */
  readonly behindProxies: boolean;
  readonly onRefused: (reason: RefusalReason) => void;
  /** Told of the address whose connection was ended for what came over it. */
  readonly onAbuse: (address: string) => void;
}

/** Keeps connections of HTTP/2 from doing what costs their peer nothing and us much. */
export class SessionGuard implements Disposable {
  readonly #options: SessionGuardOptions;
  readonly #sessions = new Map<ServerHttp2Session, SessionState>();
  readonly #peers = new Map<string, Peer>();
  readonly #maxStreamsPerPeer: number;
  readonly #sweeper: NodeJS.Timeout;
  #streams = 0;

  constructor(options: SessionGuardOptions) {
    this.#options = options;
    this.#maxStreamsPerPeer = options.behindProxies ? maxStreams : maxStreamsPerAddress;
    this.#sweeper = setInterval(() => this.sweep(), sweepMs);
    this.#sweeper.unref();
  }

  get sessions(): Iterable<ServerHttp2Session> {
    return this.#sessions.keys();
  }

  add(session: ServerHttp2Session): void {
    const now = performance.now();
    const [resets, rapidResets] = [new TokenBucket(resetRate, now), new TokenBucket(rapidResetRate, now)];
    const address = session.socket.remoteAddress ?? "";
    const key = limitKey(plainAddress(address));
    const peer = this.#peers.get(key) ?? { sessions: 0, streams: 0 };
    peer.sessions += 1;
    this.#peers.set(key, peer);
    const counts = { streams: 0, open: 0, unusedSince: now, left: undefined };
    this.#sessions.set(session, { address, peer, ...counts, resets, rapidResets });
    const hello = setTimeout(() => this.#refuse(session, "slow_headers"), helloMs);
    session.once("remoteSettings", () => clearTimeout(hello));
    session.once("close", () => {
      clearTimeout(hello);
      this.#sessions.delete(session);
      peer.sessions -= 1;
      if (peer.sessions === 0) this.#peers.delete(key);
    });
    this.#bound(session, "ping", pingRate);
    this.#bound(session, "remoteSettings", settingsRate);
    this.#watchIdle(session);
  }

  /** @returns false when the stream is not to be served */
  admit(stream: ServerHttp2Stream): boolean {
    const { session } = stream;
    const state = session === undefined ? undefined : this.#sessions.get(session as ServerHttp2Session);
    // Events come after all that was read at once: many a stream has been given up by then, or with its connection.
    if (session === undefined || state === undefined || session.destroyed) return false;
    state.streams += 1;
    const now = performance.now();
    if (stream.destroyed || stream.closed) {
      this.#countReset(session as ServerHttp2Session, state, now);
      return false;
    }
    if (this.#streams >= maxStreams || state.peer.streams >= this.#maxStreamsPerPeer) {
      this.#options.onRefused("overloaded");
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return false;
    }
    if (state.streams === maxStreamsPerSession) retire(session as ServerHttp2Session);
    this.#streams += 1;
    state.peer.streams += 1;
    state.open += 1;
    stream.once("close", () => {
      this.#streams -= 1;
      state.peer.streams -= 1;
      state.open -= 1;
      if (state.open === 0) state.unusedSince = performance.now();
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) this.#countReset(session as ServerHttp2Session, state, now);
    });
    return true;
  }

  /** Ends connections that go on to send for streams that are over: no other bound counts what nobody reads. */
  sweep(): void {
    for (const [session, state] of this.#sessions) {
      if (session.destroyed || state.open > 0) continue;
      const { bytesRead } = session.socket;
      const { left, streams } = state;
      if (left?.streams !== streams) state.left = { streams, bytesRead };
      else if (bytesRead - left.bytesRead > maxLeftBytes) this.#refuse(session, "flood");
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }

  #countReset(session: ServerHttp2Session, { resets, rapidResets }: SessionState, since: number): void {
    const now = performance.now();
    const allowed = now - since < rapidMs ? rapidResets.take(1, rapidResetRate, now) : resets.take(1, resetRate, now);
    if (allowed === 0) this.#refuse(session, "resets");
  }

  #bound(session: ServerHttp2Session, event: "ping" | "remoteSettings", rate: BucketRate): void {
    const bucket = new TokenBucket(rate, performance.now());
    session.on(event, () => {
      if (bucket.take(1, rate, performance.now()) === 0) this.#refuse(session, "flood");
    });
  }

  #refuse(session: ServerHttp2Session, reason: RefusalReason): void {
    if (session.destroyed) return;
    this.#options.onRefused(reason);
    const address = this.#sessions.get(session)?.address;
    if (address !== undefined && reason !== "slow_headers") this.#options.onAbuse(address);
    session.destroy(new Error(reason), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  // Node's timer runs out once, and an answer to a ping does not wind it up again.
  #watchIdle(session: ServerHttp2Session): void {
    session.setTimeout(idleMs, () => this.#whenIdle(session));
  }

  /** A watcher may be silent for hours, and answers pings. */
  #whenIdle(session: ServerHttp2Session): void {
    const state = this.#sessions.get(session);
    if (state === undefined || session.destroyed) return;
    if (state.open === 0 && performance.now() - state.unusedSince > unusedMs) {
      retire(session);
      return;
    }
    const unanswered = setTimeout(() => session.destroy(), pingTimeoutMs);
    const answered = (): void => clearTimeout(unanswered);
    session.once("close", answered);
    session.ping(() => {
      answered();
      session.off("close", answered);
      if (!session.destroyed) this.#watchIdle(session);
    });
  }
}

/** Asks a peer to open no more streams here, and closes when those that run have ended (RFC 9113, section 6.8). */
function retire(session: ServerHttp2Session): void {
  session.goaway(constants.NGHTTP2_NO_ERROR, lastStreamId);
  const closing = setTimeout(() => session.close(), retiringMs);
  session.once("close", () => clearTimeout(closing));
}
