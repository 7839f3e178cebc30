import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import type { BodyWatch } from "./body-watch.ts";
import { isReadable, readQueryMessage } from "./connect-get.ts";
import type { Exchange, ReplyHeaders } from "./exchange.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";
import { serveUniversal } from "./serve-universal.ts";
import { isLean, serveUnary, unaryFormat } from "./unary-handler.ts";

/** What answers at the path of a method. */
export interface CallTarget {
  readonly pipeline: Pipeline;
  readonly method: PipelineMethod;
  readonly handler: UniversalHandler | undefined;
  /** Bounds bodies on their way. */
  readonly bodies: BodyWatch | undefined;
}

const grpcType = /^application\/grpc(?!-web)/i;

/** Serves one call of Connect, gRPC or gRPC-web, as its content type says. */
export function serveCall({ pipeline, method, handler, bodies }: CallTarget, exchange: Exchange): void {
  const { verb, headers } = exchange;
  const readable = isReadable(method);
  if (readable && verb === "GET") {
    const query = readQueryMessage(exchange);
    const format = unaryFormat(`application/${query.encoding}`);
    if (format === undefined) refuseType(exchange, `no message can be encoded as ${query.encoding || "nothing"}`);
    else serveUnary({ pipeline, method, format, exchange, query, bodies });
    return;
  }
  if (verb !== "POST") {
    const allow = readable ? "GET, POST" : "POST";
    refuseCall(exchange, 405, new ConnectError(`${verb} is not allowed here`, Code.Unimplemented), { allow });
    return;
  }
  const type = String(headers["content-type"] ?? "");
  if (exchange.httpVersion === 1 && grpcType.test(type)) {
    refuseType(exchange, "gRPC needs HTTP/2");
    return;
  }
  const format = unaryFormat(type);
  const unary = method.desc.methodKind === "unary";
  if (unary && format !== undefined && isLean(exchange, format)) {
    serveUnary({ pipeline, method, format, exchange, bodies });
  } else if (handler?.supportedContentType(type) === true && !(unary && format === undefined)) {
    const { methodKind } = method.desc;
    // Who it is was asked before the first message: uploads may go on for as long as they like.
    const upload = methodKind === "client_streaming" || methodKind === "bidi_streaming";
    void serveUniversal({
      handler,
      exchange,
      bodies,
      upload,
      readMaxBytes: method.readMaxBytes,
      input: method.input.desc,
    });
  } else {
    refuseType(exchange, `this method takes no content type ${type}`);
  }
}

function refuseType(exchange: Exchange, message: string): void {
  refuseCall(exchange, 415, new ConnectError(message, Code.InvalidArgument));
}

/** In Connect's shape: what is no call of any protocol has none of its own. */
function refuseCall(exchange: Exchange, status: number, error: ConnectError, headers: ReplyHeaders = {}): void {
  const body = JSON.stringify(errorToJson(toConnectError(error), undefined));
  exchange.reply(status, { ...headers, "content-type": "application/json", "x-request-id": crypto.randomUUID() }, body);
}
