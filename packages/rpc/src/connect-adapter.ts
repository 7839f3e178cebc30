import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { DescMethod, Message } from "@bufbuild/protobuf";
import {
  createConnectRouter,
  createContextKey,
  createContextValues,
  type ConnectRouter,
  type HandlerContext,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import { CallContext } from "./call-context.ts";
import { addressOfSession } from "./exchange.ts";
import { one } from "./one.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";

/** Connect's own handler, for streams and what is unusual: compression, GET, odd encodings. */
export type ConnectAdapter = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
) => void;

export function createConnectAdapter(pipeline: Pipeline): ConnectAdapter {
  return connectNodeAdapter({
    routes: (router) => registerMethods(router, pipeline),
    contextValues: (request) => createContextValues().set(peerAddress, addressOf(request)),
    readMaxBytes: pipeline.limits.readMaxBytes,
    maxTimeoutMs: pipeline.limits.maxTimeoutMs,
    acceptCompression: [compressionGzip, compressionBrotli],
  });
}

/** The same handlers without Node's types, by path. */
export function createUniversalHandlers(pipeline: Pipeline): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    readMaxBytes: pipeline.limits.readMaxBytes,
    maxTimeoutMs: pipeline.limits.maxTimeoutMs,
    acceptCompression: [compressionGzip, compressionBrotli],
  });
  registerMethods(router, pipeline);
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** Where the door puts the peer's address for Connect's handlers. */
export const peerAddress = createContextKey("", { description: "peer address" });

function addressOf(request: IncomingMessage | Http2ServerRequest): string {
  return "stream" in request ? addressOfSession(request.stream.session) : (request.socket.remoteAddress ?? "");
}

function registerMethods(router: ConnectRouter, pipeline: Pipeline): void {
  for (const method of pipeline.methods.values()) {
    router.rpc<DescMethod>(method.desc, implementation(pipeline, method) as never, {
      readMaxBytes: method.readMaxBytes,
    });
  }
}

// Every method goes through the same pipeline as on the lean path; only the framing is Connect's.
function implementation(pipeline: Pipeline, method: PipelineMethod): unknown {
  switch (method.desc.methodKind) {
    case "unary":
      return (request: Message, context: HandlerContext) => pipeline.unary(method, request, callFrom(context));
    case "server_streaming":
      return (request: Message, context: HandlerContext) => pipeline.stream(method, one(request), callFrom(context));
    case "client_streaming":
      return async (requests: AsyncIterable<Message>, context: HandlerContext) => {
        let last: Message | undefined;
        for await (const message of pipeline.stream(method, requests, callFrom(context))) last = message;
        return last;
      };
    case "bidi_streaming":
      return (requests: AsyncIterable<Message>, context: HandlerContext) =>
        pipeline.stream(method, requests, callFrom(context));
  }
}

function callFrom(context: HandlerContext): CallContext {
  return new CallContext({
    method: context.method,
    protocolName: context.protocolName,
    requestMethod: context.requestMethod,
    url: context.url,
    headers: context.requestHeader,
    address: context.values.get(peerAddress),
    timeoutMs: context.timeoutMs(),
    signal: context.signal,
    values: context.values,
    responseHeader: context.responseHeader,
    responseTrailer: context.responseTrailer,
  });
}
