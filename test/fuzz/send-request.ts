import { once } from "node:events";
import { Agent, request as requestHttp1 } from "node:http";
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from "node:http2";
import type { WireRequest } from "./wire-request.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** False when the caller stopped reading before the end. */
  readonly whole: boolean;
}

// A watcher is told things for as long as it listens; what it has heard by then is looked at.
const maxSockets = 64;
// Old connections make way, as those of callers do: what a server keeps for each must not add up.
const streamsPerSession = 500;

const maxTries = 3;
const reused = new WeakSet<object>();

/** A connection that was closed before it could carry the request: by HTTP's own rules the caller tries another. */
function wasNotTaken(reason: unknown): boolean {
  if (!(reason instanceof Error)) return false;
  return reused.has(reason) || reason.message.includes("NGHTTP2_REFUSED_STREAM");
}

/** Sends requests over connections that it keeps. */
export class Sender implements AsyncDisposable {
  readonly #httpUrl: URL;
  readonly #grpcUrl: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets });
  #session: ClientHttp2Session | undefined;
  #streams = 0;

  constructor(httpUrl: string, grpcAddress: string) {
    this.#httpUrl = new URL(httpUrl);
    this.#grpcUrl = `http://${grpcAddress}`;
  }

  /**
   * @param patienceMs after which the caller goes away
   * @returns what came until then; undefined when not even the head of an answer did
   * @throws Error when the connection broke
   */
  async send(request: WireRequest, patienceMs: number): Promise<Answer | undefined> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await (request.http === 1 ? this.#send1(request, patienceMs) : this.#send2(request, patienceMs));
      } catch (reason) {
        if (tries === maxTries || !wasNotTaken(reason)) throw reason;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    const session = this.#session;
    if (session === undefined || session.destroyed) return;
    // Streams that were not waited for are open yet.
    session.destroy();
    await once(session, "close");
  }

  #send1({ verb, path, headers, body }: WireRequest, patienceMs: number): Promise<Answer | undefined> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = this.#httpUrl;
      const length = body.byteLength > 0 || verb !== "GET" ? { "content-length": String(body.byteLength) } : {};
      const options = {
        method: verb,
        path,
        host: hostname,
        port,
        headers: { ...headers, ...length },
        agent: this.#agent,
      };
      const chunks: Buffer[] = [];
      let head: { status: number; headers: IncomingHttpHeaders } | undefined;
      const settle = (whole: boolean): void => {
        clearTimeout(timer);
        resolve(head === undefined ? undefined : { ...head, trailers: {}, body: Buffer.concat(chunks), whole });
      };
      const request = requestHttp1(options, (response) => {
        head = { status: response.statusCode ?? 0, headers: response.headers };
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => settle(true));
        response.on("error", () => {}); // told to the request too
      });
      const timer = setTimeout(() => {
        settle(false);
        request.destroy();
      }, patienceMs);
      request.on("error", (error) => {
        clearTimeout(timer);
        if (request.reusedSocket && head === undefined) reused.add(error);
        reject(error);
      });
      request.end(body);
    });
  }

  #send2({ verb, path, headers, body }: WireRequest, patienceMs: number): Promise<Answer | undefined> {
    return new Promise((resolve, reject) => {
      const stream = this.#open().request({ ":method": verb, ":path": path, ...headers }, { endStream: false });
      const chunks: Buffer[] = [];
      let head: IncomingHttpHeaders | undefined;
      let trailers: IncomingHttpHeaders = {};
      const settle = (whole: boolean): void => {
        clearTimeout(timer);
        if (head === undefined) return resolve(undefined);
        resolve({ status: Number(head[":status"]), headers: head, trailers, body: Buffer.concat(chunks), whole });
      };
      stream.on("response", (received) => (head = received));
      stream.on("trailers", (received) => (trailers = received));
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        if (head !== undefined) settle(true);
      });
      const timer = setTimeout(() => {
        settle(false);
        stream.close(8); // CANCEL
      }, patienceMs);
      stream.on("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      stream.on("close", () => {
        clearTimeout(timer);
        if (head === undefined) reject(new Error(`the stream was reset with ${stream.rstCode}`));
      });
      stream.end(body);
    });
  }

  #open(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed && this.#streams < streamsPerSession) {
      this.#streams += 1;
      return known;
    }
    known?.close();
    const session = connect(this.#grpcUrl);
    session.on("error", () => {}); // each stream tells of it
    this.#session = session;
    this.#streams = 1;
    return session;
  }
}
