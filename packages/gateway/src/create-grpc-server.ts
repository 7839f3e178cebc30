import { createServer, type Http2Server } from "node:http2";
import type { createGrpcHandler } from "@millrace/rpc";
import { maxConcurrentStreams, type SessionGuard } from "./session-guard.ts";
import type { SlowReaders } from "./slow-readers.ts";

/** Beyond these nghttp2 ends the connection by itself, in the middle of what was read at once. */
const parserLimits = { streamResetBurst: 1_000, streamResetRate: 100, maxSettings: 16, maxSessionInvalidFrames: 100 };
const maxHeaderBytes = 32 * 1024;
const maxHeaderPairs = 200;
/** MiB; a connection that has more in its buffers gets no more streams. */
const maxSessionMemory = 10;

/** A server of HTTP/2 in clear, for gRPC. */
export function createGrpcServer(
  handler: ReturnType<typeof createGrpcHandler>,
  guard: SessionGuard,
  slowReaders: SlowReaders,
): Http2Server {
  const server = createServer({
    settings: { maxConcurrentStreams, maxHeaderListSize: maxHeaderBytes },
    maxHeaderListPairs: maxHeaderPairs,
    maxSessionMemory,
    ...parserLimits,
  });
  server.on("session", (session) => guard.add(session));
  server.on("stream", (stream, headers) => {
    // One that is not served fails too, and an error that nobody listens to ends the process.
    stream.on("error", () => {});
    if (!guard.admit(stream)) return;
    slowReaders.watch(stream, () => stream.close());
    handler(stream, headers);
  });
  return server;
}
