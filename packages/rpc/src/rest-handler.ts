import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { BodyWatch } from "./body-watch.ts";
import { CallContext } from "./call-context.ts";
import { createGate } from "./create-gate.ts";
import type { Exchange } from "./exchange.ts";
import type { Pipeline } from "./pipeline.ts";
import { replyError, replyMessage } from "./rest-reply.ts";
import { decodeRestRequest } from "./rest-request.ts";
import type { RestRoute } from "./rest-routes.ts";
import { serveEventStream, serveUpload } from "./rest-stream.ts";
import { toConnectError } from "./rpc-error.ts";

const timeoutHeader = "x-request-timeout-ms";

/**
 * Serves one REST request whose route is known.
 * @param bodies bounds the messages of uploads; other bodies are bounded by the exchange
 */
export function serveRest(
  pipeline: Pipeline,
  route: RestRoute,
  values: readonly string[],
  exchange: Exchange,
  bodies?: BodyWatch,
): void {
  const timeout = exchange.headers[timeoutHeader];
  const timeoutMs = typeof timeout === "string" && /^\d{1,10}$/.test(timeout) ? Number(timeout) : undefined;
  const call = new CallContext({
    method: route.method.desc,
    protocolName: "rest",
    requestMethod: exchange.verb,
    url: exchange.path,
    headers: exchange.headers,
    address: exchange.address,
    timeoutMs: timeoutMs === undefined ? undefined : Math.min(timeoutMs, pipeline.limits.maxTimeoutMs),
  });
  const kind = route.method.desc.methodKind;
  if (kind === "bidi_streaming") {
    replyError(exchange, call, new ConnectError("a two-way stream has no REST form", Code.Unimplemented));
    return;
  }
  const encoding = exchange.headers["content-encoding"] ?? "identity";
  if (route.body !== "" && encoding !== "identity") {
    // At once: what is packed need not come first.
    const words = `a body cannot be packed by REST (content-encoding ${String(encoding)}); Connect and gRPC take gzip and br`;
    replyError(exchange, call, new ConnectError(words, Code.InvalidArgument));
    return;
  }
  if (kind === "client_streaming") {
    void serveUpload(pipeline, route, exchange, call, bodies);
    return;
  }
  const gate = createGate(pipeline, call);
  const serve = (body: Uint8Array, broken: ConnectError | undefined): void => {
    if (gate.refusal !== undefined) {
      replyError(exchange, call, gate.refusal);
      return;
    }
    if (broken !== undefined) {
      replyError(exchange, call, broken, broken.code === Code.ResourceExhausted);
      return;
    }
    let result: Message | Promise<Message>;
    try {
      const lastEventId = kind === "unary" ? undefined : exchange.headers["last-event-id"];
      const request = decodeRestRequest(
        route,
        values,
        exchange.query,
        body,
        typeof lastEventId === "string" ? lastEventId : undefined,
      );
      if (kind === "server_streaming") {
        void serveEventStream(pipeline, route, exchange, call, request);
        return;
      }
      result = pipeline.unary(route.method, request, call);
    } catch (reason) {
      replyError(exchange, call, toConnectError(reason));
      return;
    }
    const succeed = (message: Message) => replyMessage(exchange, call, route, message);
    if (typeof (result as Promise<Message>).then !== "function") {
      succeed(result as Message);
      return;
    }
    exchange.onGone(() => call.abort(new ConnectError("the caller went away", Code.Canceled)));
    (result as Promise<Message>).then(succeed, (reason: unknown) => replyError(exchange, call, toConnectError(reason)));
  };
  exchange.readBody(route.method.readMaxBytes, serve, gate.ask);
}
