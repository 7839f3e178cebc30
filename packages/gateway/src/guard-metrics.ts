import type { IncomingMessage, ServerResponse } from "node:http";
import { SystemService } from "@millrace/protocol";
import { CallContext, errorBody, restStatus, toConnectError } from "@millrace/rpc";
import type { OpsHandler } from "@millrace/service-kit";
import type { DoorGuard } from "./guard-doors.ts";

/** Shows figures to whoever may read the system's own; probes stay open to everybody. */
export function guardMetrics(ops: OpsHandler, { hooks }: DoorGuard): OpsHandler {
  async function check(call: CallContext): Promise<void> {
    call.identity = await hooks.identify(call);
    await hooks.authorize(call);
    await hooks.admit(call);
  }
  return (request, response) => {
    const [path] = (request.url ?? "").split("?");
    if (path !== "/metrics") return ops(request, response);
    const call = new CallContext({
      method: SystemService.method.getInfo,
      protocolName: "rest",
      requestMethod: request.method ?? "GET",
      url: path,
      headers: request.headers,
      address: request.socket.remoteAddress,
    });
    check(call).then(
      () => ops(request, response),
      (reason: unknown) => refuse(request, response, call, reason),
    );
    return true;
  };
}

function refuse(request: IncomingMessage, response: ServerResponse, call: CallContext, reason: unknown): void {
  const error = toConnectError(reason);
  request.resume();
  response.writeHead(restStatus(error.code), {
    ...Object.fromEntries(error.metadata),
    "content-type": "application/json",
    "x-request-id": call.requestId,
  });
  response.end(JSON.stringify(errorBody(error, call.requestId)));
}
