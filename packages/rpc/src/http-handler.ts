import type { IncomingMessage, ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { AnswerBudget } from "./answer-budget.ts";
import type { BodyWatch } from "./body-watch.ts";
import { createConnectHandlers } from "./connect-handlers.ts";
import { createCors, defaultCors, type CorsOptions } from "./cors.ts";
import { hasBody, Http1Exchange, Http2Exchange, type Exchange, type ReplyHeaders } from "./exchange.ts";
import { isRefusal, type Intercept, type Interception, type Refusal } from "./interception.ts";
import { InterceptedExchange } from "./intercepted-exchange.ts";
import type { Pipeline } from "./pipeline.ts";
import { refuseExchange } from "./refuse-exchange.ts";
import { toConnectError } from "./rpc-error.ts";
import { serveRest } from "./rest-handler.ts";
import { createRestRouter } from "./rest-routes.ts";
import { serveCall } from "./serve-call.ts";

/** An answer that does not change, such as the API's description. */
export interface StaticPage {
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

export interface DoorOptions {
  readonly cors?: CorsOptions;
  /** Fixed pages by exact path. */
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** What is served beside the API, on HTTP/1.1 and HTTP/2; returns false to leave it to the routes. */
  readonly serve?: (exchange: Exchange) => boolean;
  /** Stands around every request but CORS preflights. */
  readonly intercept?: Intercept;
  /** Headers of answers that have none of that name; gRPC has no browser to protect, and goes without. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Bounds bodies on their way. */
  readonly bodies?: BodyWatch;
  /** Bounds answers that wait for their callers. */
  readonly answers?: AnswerBudget;
  /** Whether calls to a host of this name, as `host` or `:authority` says it, are served; all are without this. */
  readonly isServed?: (host: string) => boolean;
  /** Told of a call from a web page that may not. */
  readonly onOriginRefused?: () => void;
  /** Gets what no route takes, HTTP/1.1 only; returns false to have it answered with 404. */
  readonly fallback?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

/** Pages have their scripts and styles in themselves. */
const pagePolicy =
  "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

interface Door {
  /** Returns false when nothing took the exchange. */
  serve(exchange: Exchange): boolean;
  /** Undefined: nothing stands around this request. */
  intercept(exchange: Exchange): Interception | undefined;
  /** Serves an exchange with what stands around it. */
  serveIntercepted(exchange: Exchange, interception: Interception): Promise<void>;
  /** CORS headers of every answer, or `refused`. */
  originHeaders(
    origin: string | undefined,
    verb: string,
    host: string | undefined,
  ): ReplyHeaders | undefined | "refused";
}

function createDoor(pipeline: Pipeline, options: DoorOptions): Door {
  const router = createRestRouter(pipeline);
  const pages = encodePages(options.pages);
  const cors = createCors(options.cors ?? defaultCors);
  const handlers = createConnectHandlers(pipeline, options.bodies);

  function serve(exchange: Exchange): boolean {
    const { path, verb } = exchange;
    if (isPreflight(exchange)) {
      cors.preflight(exchange);
      return true;
    }
    const method = pipeline.methods.get(path);
    if (method !== undefined) {
      serveCall({ pipeline, method, handler: handlers.get(path), bodies: options.bodies }, exchange);
      return true;
    }
    const match = router.match(verb, path);
    if (match.kind === "found") {
      serveRest(pipeline, match.route, match.values, exchange, options.bodies);
      return true;
    }
    const page = verb === "GET" || verb === "HEAD" ? pages.get(path) : undefined;
    if (page !== undefined) {
      exchange.reply(200, { "content-type": page.contentType, "content-security-policy": pagePolicy }, page.body);
      return true;
    }
    if (match.kind === "none") return options.serve?.(exchange) ?? false;
    refuse(exchange, 405, Code.Unimplemented, `${verb} is not allowed here`, { allow: match.allow });
    return true;
  }

  async function serveIntercepted(exchange: Exchange, interception: Interception): Promise<void> {
    let gone = false;
    exchange.onGone(() => (gone = true));
    const isCall = pipeline.methods.has(exchange.path);
    const refuseIt = (refusal: Refusal): void => refuseExchange(exchange, refusal, interception.requestId, isCall);
    const outcome = await interception.before();
    if (gone) return;
    if (isRefusal(outcome)) {
      refuseIt(outcome);
      return;
    }
    const served = new InterceptedExchange(exchange, outcome, interception, refuseIt);
    if (!serve(served)) refuseUnknown(served);
  }

  return {
    serve,
    intercept: (exchange) =>
      options.intercept === undefined || isPreflight(exchange) ? undefined : options.intercept(exchange),
    serveIntercepted,
    originHeaders(origin, verb, host) {
      if (host !== undefined && options.isServed?.(host) === false) return "refused";
      if (origin === undefined) return undefined;
      // Reads are harmless without the header: the browser withholds the answer. Writes must not even happen.
      return cors.headersFor(origin, host) ?? (verb === "GET" || verb === "HEAD" ? undefined : "refused");
    },
  };
}

function isPreflight({ verb, headers }: Exchange): boolean {
  return verb === "OPTIONS" && headers["access-control-request-method"] !== undefined;
}

/** Listener for Node's `http` server: REST, Connect and gRPC-web. */
export function createHttpHandler(
  pipeline: Pipeline,
  options: DoorOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  const door = createDoor(pipeline, options);
  const { headers: defaults, bodies, answers } = options;
  return (request, response) => {
    if (bodies !== undefined && hasBody(request.headers)) dropRest(request, response, bodies);
    const origin = door.originHeaders(request.headers.origin, request.method ?? "GET", request.headers.host);
    if (origin === "refused") {
      options.onOriginRefused?.();
      refuseOrigin(new Http1Exchange(request, response, { defaults }));
      return;
    }
    const exchange = new Http1Exchange(request, response, { always: origin, defaults, bodies, answers });
    const interception = door.intercept(exchange);
    if (interception !== undefined) {
      void door.serveIntercepted(exchange, interception);
      return;
    }
    if (door.serve(exchange)) return;
    if (options.fallback !== undefined) {
      for (const [name, value] of Object.entries({ ...defaults, ...origin })) response.setHeader(name, value);
    }
    if (options.fallback?.(request, response) === true) return;
    refuseUnknown(exchange);
  };
}

/** Listener for the `stream` event of Node's `http2` server: gRPC, and everything else that speaks HTTP/2. */
export function createGrpcHandler(
  pipeline: Pipeline,
  options: Omit<DoorOptions, "fallback"> = {},
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags?: number, rawHeaders?: string[]) => void {
  const door = createDoor(pipeline, options);
  const { bodies, answers } = options;
  return (stream, headers) => {
    const host = headers[":authority"] ?? headers.host;
    const origin = door.originHeaders(headers.origin, headers[":method"] ?? "GET", host);
    const defaults = headers["content-type"]?.startsWith("application/grpc") === true ? undefined : options.headers;
    if (origin === "refused") {
      options.onOriginRefused?.();
      refuseOrigin(new Http2Exchange(stream, headers, { defaults }));
      return;
    }
    const exchange = new Http2Exchange(stream, headers, { always: origin, defaults, bodies, answers });
    const interception = door.intercept(exchange);
    if (interception !== undefined) {
      void door.serveIntercepted(exchange, interception);
      return;
    }
    if (!door.serve(exchange)) refuseUnknown(exchange);
  };
}

/** As bytes: callers that take their time share them, where each would have a copy of a text. */
function encodePages(pages: DoorOptions["pages"]): ReadonlyMap<string, StaticPage> {
  const encoded = new Map<string, StaticPage>();
  for (const [path, { contentType, body }] of pages ?? [])
    encoded.set(path, { contentType, body: typeof body === "string" ? Buffer.from(body) : body });
  return encoded;
}

/** Node reads what comes of a request after its answer, to find the next one, and knows no end of that. */
function dropRest(request: IncomingMessage, response: ServerResponse, bodies: BodyWatch): void {
  // Node's own listener is called before, and takes those of the request off.
  response.once("finish", () => {
    if (request.complete || request.destroyed) return;
    const length = request.headers["content-length"];
    bodies.drop(request, length === undefined ? undefined : Number(length));
  });
}

function refuseOrigin(exchange: Exchange): void {
  refuse(exchange, 403, Code.PermissionDenied, "calls from this origin, or to this host name, are not allowed");
}

function refuseUnknown(exchange: Exchange): void {
  const contentType = String(exchange.headers["content-type"] ?? "");
  if (exchange.httpVersion === 2 && /^application\/grpc(?!-web)/.test(contentType)) {
    const { code, rawMessage } = toConnectError(
      new ConnectError(`unknown method ${exchange.path}`, Code.Unimplemented),
    );
    exchange.reply(200, { "content-type": contentType }, "", {
      "grpc-status": String(code),
      "grpc-message": encodeURIComponent(rawMessage),
    });
    return;
  }
  refuse(exchange, 404, Code.NotFound, `nothing is served at ${exchange.path}`);
}

function refuse(exchange: Exchange, status: number, code: Code, message: string, headers: ReplyHeaders = {}): void {
  refuseExchange(exchange, { error: new ConnectError(message, code), status, headers }, crypto.randomUUID(), false);
}
