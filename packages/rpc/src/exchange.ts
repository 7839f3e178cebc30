import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { AnswerBudget } from "./answer-budget.ts";
import type { BodyWatch } from "./body-watch.ts";
import { collectBody, noBytes, type BodyGate } from "./collect-body.ts";
import { errorBody, restStatus } from "./rpc-error.ts";

/** Header values by lower-case name; a list is one header line each. */
export type ReplyHeaders = Record<string, string | string[]>;

/** One HTTP request and its answer, over HTTP/1.1 or HTTP/2: the few things that the lean handlers need. */
export interface Exchange {
  readonly httpVersion: 1 | 2;
  readonly verb: string;
  readonly path: string;
  /** After the `?`, not decoded. */
  readonly query: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** IP address of the peer. */
  readonly address: string;
  /**
   * Reads the whole body; refuses one over `maxBytes` with `resource_exhausted`, a broken one with `canceled`, and a large one
   * with what `gate` throws.
   */
  readBody(maxBytes: number, done: (body: Uint8Array, error: ConnectError | undefined) => void, gate?: BodyGate): void;
  /** Body as it comes, for streams. */
  bodyChunks(): AsyncIterable<Uint8Array>;
  /** Sends the whole answer at once. Trailers exist on HTTP/2 only. */
  reply(status: number, headers: ReplyHeaders, body: string | Uint8Array, trailers?: ReplyHeaders): void;
  /** Starts an answer of unknown length; nothing is sent before. Trailers, on HTTP/2 only, are asked for at its end. */
  open(status: number, headers: ReplyHeaders, trailers?: () => ReplyHeaders): void;
  /** Resolves when the peer can take more; false when it has gone. */
  write(chunk: string | Uint8Array): Promise<boolean>;
  /** Bytes accepted by `write` that the peer has not taken. */
  readonly backlogBytes: number;
  end(): void;
  /** The peer went away before the answer was whole. */
  onGone(listener: () => void): void;
}

/** Takes over what a method has set. Each cookie is a header line of its own, so they add up (RFC 6265, section 3). */
export function addHeaders(into: ReplyHeaders, from: Headers, prefix = ""): void {
  from.forEach((value, name) => {
    const key = prefix + name;
    const known = into[key];
    into[key] = name === "set-cookie" && known !== undefined ? [known, value].flat() : value;
  });
}

function splitTarget(target: string): [path: string, query: string] {
  const mark = target.indexOf("?");
  return mark < 0 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
}

/** What a door gives every exchange. */
export interface ExchangeOptions {
  /** Headers of every answer, such as CORS. */
  readonly always?: ReplyHeaders | undefined;
  /** Headers of answers that have none of that name. */
  readonly defaults?: Readonly<Record<string, string>> | undefined;
  readonly bodies?: BodyWatch | undefined;
  readonly answers?: AnswerBudget | undefined;
}

function complete(headers: ReplyHeaders, { always, defaults }: ExchangeOptions): void {
  if (defaults !== undefined) for (const name in defaults) headers[name] ??= defaults[name] ?? "";
  if (always !== undefined) Object.assign(headers, always);
}

const noOptions: ExchangeOptions = {};

/** Whoever stops reading a body in the middle has an answer to give, by the connection that would go with the body. */
const keepSource = { destroyOnReturn: false };

/** Instead of an answer that there is no room for; gRPC and Connect know what the status means. */
function noRoom(): { readonly status: number; readonly headers: ReplyHeaders; readonly body: string } {
  const requestId = crypto.randomUUID();
  const error = new ConnectError("too many large answers at once", Code.Unavailable);
  return {
    status: restStatus(error.code),
    headers: { "content-type": "application/json", "retry-after": "1", "x-request-id": requestId },
    body: JSON.stringify(errorBody(error, requestId)),
  };
}

/** Whether a request of HTTP/1.1 has a body, or says so. */
export function hasBody(headers: IncomingMessage["headers"]): boolean {
  return headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
}

export class Http1Exchange implements Exchange {
  readonly httpVersion = 1;
  readonly verb: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingMessage["headers"];
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #options: ExchangeOptions;
  #cut = false;

  constructor(request: IncomingMessage, response: ServerResponse, options = noOptions) {
    this.#request = request;
    this.#response = response;
    this.#options = options;
    this.verb = request.method ?? "GET";
    [this.path, this.query] = splitTarget(request.url ?? "/");
    this.headers = request.headers;
  }

  get address(): string {
    return this.#request.socket.remoteAddress ?? "";
  }

  readBody(maxBytes: number, done: (body: Uint8Array, error: ConnectError | undefined) => void, gate?: BodyGate): void {
    const length = this.headers["content-length"];
    if (!hasBody(this.headers)) {
      done(noBytes, undefined);
      return;
    }
    collectBody(this.#request, length, maxBytes, this.#options.bodies, () => (this.#cut = true), done, gate);
  }

  bodyChunks(): AsyncIterable<Uint8Array> {
    return this.#request.iterator(keepSource);
  }

  reply(status: number, headers: ReplyHeaders, body: string | Uint8Array): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    if (this.#options.answers?.hold(body.length, response) === false) {
      const instead = noRoom();
      this.#send(instead.status, instead.headers, instead.body);
    } else {
      this.#send(status, headers, body);
    }
  }

  #send(status: number, headers: ReplyHeaders, body: string | Uint8Array): void {
    const response = this.#response;
    headers["content-length"] = String(typeof body === "string" ? Buffer.byteLength(body) : body.byteLength);
    complete(headers, this.#options);
    if (this.#cut) headers["connection"] = "close";
    response.writeHead(status, headers);
    response.end(body);
  }

  open(status: number, headers: ReplyHeaders): void {
    if (this.#response.headersSent || this.#response.destroyed) return;
    complete(headers, this.#options);
    this.#response.writeHead(status, headers);
    this.#response.flushHeaders();
  }

  write(chunk: string | Uint8Array): Promise<boolean> {
    return writeTo(this.#response, chunk);
  }

  get backlogBytes(): number {
    return this.#response.writableLength;
  }

  end(): void {
    this.#response.end();
  }

  onGone(listener: () => void): void {
    const response = this.#response;
    response.once("close", () => {
      if (!response.writableFinished) listener();
    });
  }
}

// A session's socket is behind a proxy; asked for each stream it would cost more than the rest of the exchange.
const sessionAddresses = new WeakMap<Http2Session, string>();

/** IP address of the peer of an HTTP/2 connection. */
export function addressOfSession(session: Http2Session | undefined): string {
  if (session === undefined) return "";
  let address = sessionAddresses.get(session);
  if (address === undefined) {
    address = session.destroyed ? "" : (session.socket.remoteAddress ?? "");
    sessionAddresses.set(session, address);
  }
  return address;
}

export class Http2Exchange implements Exchange {
  readonly httpVersion = 2;
  readonly verb: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  readonly #options: ExchangeOptions;
  #left = false;
  #cut = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, options = noOptions) {
    this.#stream = stream;
    this.#options = options;
    this.verb = headers[":method"] ?? "GET";
    [this.path, this.query] = splitTarget(headers[":path"] ?? "/");
    this.headers = headers;
    // A reset of the stream is an answer in itself: without a listener it would end the process.
    stream.on("error", () => {});
  }

  get address(): string {
    return addressOfSession(this.#stream.session);
  }

  readBody(maxBytes: number, done: (body: Uint8Array, error: ConnectError | undefined) => void, gate?: BodyGate): void {
    const cut = (): void => void (this.#cut = true);
    const end = (body: Uint8Array, error: ConnectError | undefined): void => {
      // Whatever else comes is of no use: RFC 9113, section 8.1, has a word for that.
      if (error !== undefined) cut();
      done(body, error);
    };
    collectBody(this.#stream, this.headers["content-length"], maxBytes, this.#options.bodies, cut, end, gate);
  }

  async *bodyChunks(): AsyncGenerator<Uint8Array> {
    const stream = this.#stream;
    try {
      yield* stream.iterator(keepSource);
    } finally {
      // Without the end of its request the stream would stay after its answer.
      if (!stream.readableEnded) {
        this.#left = true;
        stream.resume();
      }
    }
  }

  reply(status: number, headers: ReplyHeaders, body: string | Uint8Array, trailers?: ReplyHeaders): void {
    const stream = this.#stream;
    if (!isAnswerable(stream)) return;
    if (this.#options.answers?.hold(body.length, stream) === false) {
      const instead = noRoom();
      this.#send(instead.status, instead.headers, instead.body, undefined);
    } else {
      this.#send(status, headers, body, trailers);
    }
  }

  #send(status: number, headers: ReplyHeaders, body: string | Uint8Array, trailers: ReplyHeaders | undefined): void {
    const stream = this.#stream;
    headers[":status"] = String(status);
    complete(headers, this.#options);
    if (trailers === undefined) {
      headers["content-length"] = String(typeof body === "string" ? Buffer.byteLength(body) : body.byteLength);
      stream.respond(headers);
    } else {
      stream.respond(headers, { waitForTrailers: true });
      stream.once("wantTrailers", () => {
        if (isOver(stream)) return;
        stream.sendTrailers(trailers);
        // A reset in the same turn would overtake them.
        if (this.#cut) setImmediate(() => stream.close());
      });
    }
    stream.end(body);
    if (this.#cut && trailers === undefined) stream.once("finish", () => stream.close());
  }

  open(status: number, headers: ReplyHeaders, trailers?: () => ReplyHeaders): void {
    const stream = this.#stream;
    if (!isAnswerable(stream)) return;
    headers[":status"] = String(status);
    complete(headers, this.#options);
    stream.respond(headers, { waitForTrailers: trailers !== undefined });
    if (trailers === undefined) {
      stream.once("finish", () => this.#closeLeft());
    } else {
      stream.once("wantTrailers", () => {
        if (isOver(stream)) return;
        stream.sendTrailers(trailers());
        this.#closeLeft();
      });
    }
  }

  #closeLeft(): void {
    // A reset in the same turn would overtake the last words.
    if (this.#left) setImmediate(() => this.#stream.close());
  }

  write(chunk: string | Uint8Array): Promise<boolean> {
    return writeTo(this.#stream, chunk);
  }

  get backlogBytes(): number {
    return this.#stream.writableLength;
  }

  end(): void {
    this.#stream.end();
  }

  onGone(listener: () => void): void {
    const stream = this.#stream;
    stream.once("close", () => {
      if (stream.rstCode !== 0 || !stream.writableFinished) listener();
    });
  }
}

// A stream is closed before it is destroyed, as when its connection went away; what comes in between throws.
function isOver(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

function isAnswerable(stream: ServerHttp2Stream): boolean {
  return !isOver(stream) && !stream.headersSent;
}

function writeTo(target: ServerResponse | ServerHttp2Stream, chunk: string | Uint8Array): Promise<boolean> {
  if (target.destroyed || target.writableEnded) return Promise.resolve(false);
  if (target.write(chunk)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const drained = () => {
      target.off("close", closed);
      resolve(true);
    };
    const closed = () => {
      target.off("drain", drained);
      resolve(false);
    };
    target.once("drain", drained);
    target.once("close", closed);
  });
}
