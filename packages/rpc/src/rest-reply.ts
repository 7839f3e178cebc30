import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { mergeNonProtocolHeaders } from "@connectrpc/connect/protocol";
import type { CallContext } from "./call-context.ts";
import { addHeaders, type Exchange, type ReplyHeaders } from "./exchange.ts";
import type { RestRoute } from "./rest-routes.ts";
import { errorBody, restStatus, toConnectError } from "./rpc-error.ts";

/** Sends a method's answer as the JSON body of a REST call. */
export function replyMessage(exchange: Exchange, call: CallContext, route: RestRoute, message: Message): void {
  const headers: ReplyHeaders = { "content-type": "application/json" };
  if (call.responseHeaderIfSet !== undefined) addHeaders(headers, call.responseHeaderIfSet);
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
  addHeaders(headers, metadata);
  if ((status === 429 || status === 503) && headers["retry-after"] === undefined) headers["retry-after"] = "1";
  exchange.reply(status, headers, JSON.stringify(errorBody(shown, call.requestId)));
}
