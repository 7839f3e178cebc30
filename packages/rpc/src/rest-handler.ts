import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { mergeNonProtocolHeaders } from "@connectrpc/connect/protocol";
import { CallContext } from "./call-context.ts";
import type { Exchange, ReplyHeaders } from "./exchange.ts";
import type { Pipeline } from "./pipeline.ts";
import { decodeRestRequest } from "./rest-request.ts";
import type { RestRoute } from "./rest-routes.ts";
import { serveEventStream, serveUpload } from "./rest-stream.ts";
import { errorBody, restStatus, toConnectError } from "./rpc-error.ts";

const timeoutHeader = "x-request-timeout-ms";

/** Serves one REST request whose route is known. */
export function serveRest(pipeline: Pipeline, route: RestRoute, values: readonly string[], exchange: Exchange): void {
  const timeout = exchange.headers[timeoutHeader];
  const timeoutMs = typeof timeout === "string" && /^\d{1,10}$/.test(timeout) ? Number(timeout) : undefined;
  const call = new CallContext({
    method: route.method.desc,
    protocolName: "rest",
    requestMethod: exchange.verb,
    url: exchange.path,
    headers: exchange.headers,
    timeoutMs: timeoutMs === undefined ? undefined : Math.min(timeoutMs, pipeline.limits.maxTimeoutMs),
  });
  const kind = route.method.desc.methodKind;
  if (kind === "bidi_streaming") {
    replyError(exchange, call, new ConnectError("a two-way stream has no REST form", Code.Unimplemented));
    return;
  }
  if (kind === "client_streaming") {
    void serveUpload(pipeline, route, exchange, call);
    return;
  }
  exchange.readBody(route.method.readMaxBytes, (body, broken) => {
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
  });
}

export function replyMessage(exchange: Exchange, call: CallContext, route: RestRoute, message: Message): void {
  const headers: ReplyHeaders = { "content-type": "application/json" };
  call.responseHeaderIfSet?.forEach((value, name) => {
    headers[name] = value;
  });
  try {
    let json = route.method.output.encodeJson(message);
    if (route.responseBody !== "") {
      const whole = JSON.parse(json) as Record<string, unknown>;
      const field = route.method.desc.output.fields.find((one) => one.name === route.responseBody);
      json = JSON.stringify(whole[field?.jsonName ?? route.responseBody] ?? null);
    }
    exchange.reply(200, headers, json);
  } catch (reason) {
    replyError(exchange, call, toConnectError(reason));
  }
}

/** @param oversized the request was refused for its size, before it was read: 413, where 429 would promise that a retry helps */
export function replyError(exchange: Exchange, call: CallContext, error: ConnectError, oversized = false): void {
  const shown = oversized ? new ConnectError(error.rawMessage, Code.OutOfRange) : error;
  const status = restStatus(shown.code);
  const headers: ReplyHeaders = { "content-type": "application/json", "x-request-id": call.requestId };
  const metadata = new Headers();
  mergeNonProtocolHeaders(metadata, shown.metadata);
  metadata.forEach((value, name) => {
    headers[name] = value;
  });
  if ((status === 429 || status === 503) && headers["retry-after"] === undefined) headers["retry-after"] = "1";
  exchange.reply(status, headers, JSON.stringify(errorBody(shown, call.requestId)));
}
