import type { DescMethodBiDiStreaming, Message } from "@bufbuild/protobuf";
import { Code, ConnectError, createConnectRouter, createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { CallContext } from "./call-context.ts";
import type { BodyWatch } from "./body-watch.ts";
import { compressions } from "./compressions.ts";
import { one, only } from "./one.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";

/**
 * Connect's own handlers, for streams and for packed messages in frames; by path.
 * @param bodies told of messages that are too large
 */
export function createConnectHandlers(
  pipeline: Pipeline,
  bodies: BodyWatch | undefined,
): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    maxTimeoutMs: pipeline.limits.maxTimeoutMs,
    acceptCompression: [...compressions],
  });
  for (const method of pipeline.methods.values()) {
    // In frames, every method looks like one with streams both ways. As such a one it gets its messages from an iteration of
    // its own, so that what is wrong with them is called by our names.
    const framed = { ...method.desc, methodKind: "bidi_streaming" } as DescMethodBiDiStreaming;
    router.rpc(framed, (requests, context) => run(pipeline, method, sound(requests, bodies), context) as never, {
      readMaxBytes: method.readMaxBytes,
    });
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** Where the door puts the peer's address for Connect's handlers. */
export const peerAddress = createContextKey("", { description: "peer address" });

// Every method goes through the same pipeline as on the lean path; only the framing is Connect's.
async function* run(
  pipeline: Pipeline,
  method: PipelineMethod,
  requests: AsyncIterable<Message>,
  context: HandlerContext,
): AsyncIterable<Message> {
  const call = callFrom(method, context);
  switch (method.desc.methodKind) {
    case "unary":
      yield await pipeline.unary(method, await only(requests), call);
      return;
    case "server_streaming":
      yield* pipeline.stream(method, one(await only(requests)), call);
      return;
    default:
      yield* pipeline.stream(method, requests, call);
  }
}

/**
 * Connect calls bytes that are no message `internal`; they are the caller's mistake, as malformed JSON is. What quotes the
 * caller's text must be text: Connect would break on it in writing the status line.
 */
async function* sound(requests: AsyncIterable<Message>, bodies: BodyWatch | undefined): AsyncIterable<Message> {
  try {
    yield* requests;
  } catch (reason) {
    const error = toConnectError(reason);
    if (error.code === Code.ResourceExhausted) bodies?.tooLarge();
    if (!error.rawMessage.startsWith("parse binary")) throw error;
    throw new ConnectError(error.rawMessage, Code.InvalidArgument, undefined, undefined, reason);
  }
}

/** The call of one of Connect's handlers. */
export function callFrom(method: PipelineMethod, context: HandlerContext): CallContext {
  return new CallContext({
    method: method.desc,
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
