import type { ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { Exchange, ReplyHeaders } from "./exchange.ts";
import type { Refusal } from "./interception.ts";
import { errorBody, restStatus, toConnectError } from "./rpc-error.ts";

const json = "application/json";
const endOfStream = 2;

/**
 * Refuses a request in the protocol that it speaks, without reading it.
 * @param isCall the path is that of a method; everything else is answered as REST is
 */
export function refuseExchange(exchange: Exchange, refusal: Refusal, requestId: string, isCall: boolean): void {
  const error = toConnectError(refusal.error);
  const type = isCall ? String(exchange.headers["content-type"] ?? "") : "";
  const headers: ReplyHeaders = { ...refusal.headers, "x-request-id": requestId };
  if (type.startsWith("application/grpc")) {
    const status = new Headers();
    setTrailerStatus(status, error);
    const lines = Object.fromEntries(status);
    headers["content-type"] = type;
    // gRPC-web takes the status from the headers when there is no body.
    if (type.startsWith("application/grpc-web")) exchange.reply(200, { ...headers, ...lines }, "");
    else exchange.reply(200, headers, "", lines);
  } else if (type.startsWith("application/connect+")) {
    exchange.reply(200, { ...headers, "content-type": type }, endOfStreamFrame(error));
  } else if (isCall) {
    const body = JSON.stringify(errorToJson(error, undefined));
    exchange.reply(codeToHttpStatus(error.code), { ...headers, "content-type": json }, body);
  } else {
    const body = JSON.stringify(errorBody(error, requestId));
    exchange.reply(refusal.status ?? restStatus(error.code), { ...headers, "content-type": json }, body);
  }
}

/** https://connectrpc.com/docs/protocol#error-end-stream */
function endOfStreamFrame(error: ConnectError): Uint8Array {
  const body = Buffer.from(JSON.stringify({ error: errorToJson(error, undefined) }));
  const head = Buffer.alloc(5);
  head[0] = endOfStream;
  head.writeUInt32BE(body.byteLength, 1);
  return Buffer.concat([head, body]);
}
