import { createServer, type RequestListener, type Server } from "node:http";
import type { Socket } from "node:net";
import { Code, ConnectError, errorBody } from "@millrace/rpc";
import type { RefusalReason } from "./refusals.ts";

const maxHeaderBytes = 32 * 1024;
const maxHeaders = 200;
/** For a whole head, and for the first byte of a connection. */
const headersTimeoutMs = 15_000;
const checkMs = 1_000;
const keepAliveTimeoutMs = 65_000;
/** Nothing goes to or fro for so long: nobody is there. */
export const idleSocketMs = 120_000;

/** What Node's parser says, by its code. */
const refusals: Readonly<Record<string, { reason: RefusalReason; status: string; error: ConnectError }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    reason: "slow_headers",
    status: "408 Request Timeout",
    error: new ConnectError("the request came too slowly", Code.DeadlineExceeded),
  },
  HPE_HEADER_OVERFLOW: {
    reason: "header_size",
    status: "431 Request Header Fields Too Large",
    error: new ConnectError("the headers are too large", Code.OutOfRange),
  },
};
const malformed = {
  reason: "malformed",
  status: "400 Bad Request",
  error: new ConnectError("this is not HTTP", Code.InvalidArgument),
} as const;

/** A server of HTTP/1.1 whose callers have to come to the point. */
export function createRestServer(listener: RequestListener, onRefused: (reason: RefusalReason) => void): Server {
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: checkMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      // Uploads may stream for as long as they like; all other bodies are watched.
      requestTimeout: 0,
    },
    listener,
  );
  server.maxHeadersCount = maxHeaders;
  server.setTimeout(idleSocketMs);
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const known = refusals[error.code ?? ""];
    // One that goes away in the middle has refused itself.
    const bad = error.code?.startsWith("HPE_") === true && error.code !== "HPE_INVALID_EOF_STATE";
    if (known !== undefined || bad) refuse(socket as Socket, known ?? malformed);
    socket.destroy();
  });
  return server;

  function refuse(socket: Socket, { reason, status, error }: (typeof refusals)[string]): void {
    onRefused(reason);
    // A browser that keeps a spare connection asked nothing; an answer that is under way must not be garbled.
    if (!socket.writable || socket.bytesRead === 0 || socket.bytesWritten > 0) return;
    const requestId = crypto.randomUUID();
    const body = JSON.stringify(errorBody(error, requestId));
    socket.write(
      `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n` +
        `x-request-id: ${requestId}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }
}
