import type { IncomingMessage, ServerResponse } from "node:http";
import { Http2ServerRequest, Http2ServerResponse, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectAdapter, createUniversalHandlers } from "./connect-adapter.ts";
import { createCors, defaultCors, type CorsOptions } from "./cors.ts";
import { Http1Exchange, Http2Exchange, type Exchange, type ReplyHeaders } from "./exchange.ts";
import { serveGrpcWebText } from "./grpc-web-text.ts";
import type { Pipeline } from "./pipeline.ts";
import { serveRest } from "./rest-handler.ts";
import { createRestRouter } from "./rest-routes.ts";
import { errorBody } from "./rpc-error.ts";
import { isLean, serveUnary, unaryFormat } from "./unary-handler.ts";

/** An answer that does not change, such as the API's description. */
export interface StaticPage {
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

export interface DoorOptions {
  readonly cors?: CorsOptions;
  /** Fixed pages by exact path. */
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** Gets what no route takes, HTTP/1.1 only; returns false to have it answered with 404. */
  readonly fallback?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

interface Door {
  /** Returns false when nothing took the exchange. */
  serve(exchange: Exchange, adapt: () => void): boolean;
  /** CORS headers of every answer, or `refused`. */
  originHeaders(origin: string | undefined, verb: string): ReplyHeaders | undefined | "refused";
}

function createDoor(pipeline: Pipeline, options: DoorOptions): Door {
  const router = createRestRouter(pipeline);
  const cors = createCors(options.cors ?? defaultCors);
  const universal = createUniversalHandlers(pipeline);

  function serve(exchange: Exchange, adapt: () => void): boolean {
    const { path, verb } = exchange;
    if (verb === "OPTIONS" && exchange.headers["access-control-request-method"] !== undefined) {
      cors.preflight(exchange);
      return true;
    }
    const method = pipeline.methods.get(path);
    if (method !== undefined) {
      const format = unaryFormat((exchange.headers["content-type"] as string | undefined) ?? "");
      if (format !== undefined && method.desc.methodKind === "unary" && isLean(exchange, format)) {
        serveUnary(pipeline, method, format, exchange);
      } else if (format?.text === true) {
        const handler = universal.get(path);
        if (handler === undefined) return false;
        void serveGrpcWebText(handler, exchange);
      } else {
        adapt();
      }
      return true;
    }
    const match = router.match(verb, path);
    if (match.kind === "found") {
      serveRest(pipeline, match.route, match.values, exchange);
      return true;
    }
    const page = verb === "GET" || verb === "HEAD" ? options.pages?.get(path) : undefined;
    if (page !== undefined) {
      exchange.reply(200, { "content-type": page.contentType }, page.body);
      return true;
    }
    if (match.kind === "none") return false;
    refuse(exchange, 405, Code.Unimplemented, `${verb} is not allowed here`, { allow: match.allow });
    return true;
  }

  return {
    serve,
    originHeaders(origin, verb) {
      if (origin === undefined) return undefined;
      // Reads are harmless without the header: the browser withholds the answer. Writes must not even happen.
      return cors.headersFor(origin) ?? (verb === "GET" || verb === "HEAD" ? undefined : "refused");
    },
  };
}

/** Listener for Node's `http` server: REST, Connect and gRPC-web. */
export function createHttpHandler(
  pipeline: Pipeline,
  options: DoorOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  const door = createDoor(pipeline, options);
  const adapter = createConnectAdapter(pipeline);
  return (request, response) => {
    const origin = door.originHeaders(request.headers.origin, request.method ?? "GET");
    if (origin === "refused") {
      refuse(
        new Http1Exchange(request, response),
        403,
        Code.PermissionDenied,
        "calls from this origin are not allowed",
      );
      return;
    }
    const exchange = new Http1Exchange(request, response, origin);
    const adapt = () => {
      if (origin !== undefined) for (const name of Object.keys(origin)) response.setHeader(name, origin[name] ?? "");
      adapter(request, response);
    };
    if (door.serve(exchange, adapt) || options.fallback?.(request, response) === true) return;
    refuse(exchange, 404, Code.NotFound, `nothing is served at ${exchange.path}`);
  };
}

/** Listener for the `stream` event of Node's `http2` server: gRPC, and everything else that speaks HTTP/2. */
export function createGrpcHandler(
  pipeline: Pipeline,
  options: Omit<DoorOptions, "fallback"> = {},
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags?: number, rawHeaders?: string[]) => void {
  const door = createDoor(pipeline, options);
  const adapter = createConnectAdapter(pipeline);
  return (stream, headers, _flags, rawHeaders) => {
    const origin = door.originHeaders(headers.origin, headers[":method"] ?? "GET");
    const exchange = new Http2Exchange(stream, headers, origin === "refused" ? undefined : origin);
    if (origin === "refused") {
      refuse(exchange, 403, Code.PermissionDenied, "calls from this origin are not allowed");
      return;
    }
    const adapt = () => {
      const request = new Http2ServerRequest(stream, headers, {}, rawHeaders ?? []);
      const response = new Http2ServerResponse(stream);
      if (origin !== undefined) for (const name of Object.keys(origin)) response.setHeader(name, origin[name] ?? "");
      adapter(request, response);
    };
    if (door.serve(exchange, adapt)) return;
    const contentType = headers["content-type"] ?? "";
    if (contentType.startsWith("application/grpc")) {
      exchange.reply(200, { "content-type": contentType }, "", {
        "grpc-status": String(Code.Unimplemented),
        "grpc-message": encodeURIComponent(`unknown method ${exchange.path}`),
      });
      return;
    }
    refuse(exchange, 404, Code.NotFound, `nothing is served at ${exchange.path}`);
  };
}

function refuse(exchange: Exchange, status: number, code: Code, message: string, headers: ReplyHeaders = {}): void {
  const requestId = crypto.randomUUID();
  const body = JSON.stringify(errorBody(new ConnectError(message, code), requestId));
  exchange.reply(status, { "content-type": "application/json", "x-request-id": requestId, ...headers }, body);
}
