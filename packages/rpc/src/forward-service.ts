import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  Message,
} from "@bufbuild/protobuf";
import { ConnectError, type HandlerContext, type Transport } from "@connectrpc/connect";
import { callerHeader, encodeCaller, type CallerInfo } from "@millrace/protocol";
import { callOf, type CallContext } from "./call-context.ts";
import { one } from "./one.ts";
import type { ServiceBinding } from "./pipeline.ts";

// What a caller may say to the method behind the gateway; everything else stays at the door.
const forwardedHeaders = ["traceparent", "tracestate", "x-request-id"];
const credentials = ["authorization"];

export interface ForwardOptions {
  /** The trace of the forwarder itself, in place of the caller's. */
  readonly traceparent?: () => string | undefined;
  /** Tells the service who calls. The caller's credentials then stay at the door. */
  readonly caller?: (call: CallContext) => CallerInfo;
  /** Headers that this service gets besides. */
  readonly headers?: readonly string[];
}

/** Serves every method of a service by calling it through a transport. */
export function forwardService(
  service: DescService,
  transport: Transport,
  options: ForwardOptions = {},
): ServiceBinding {
  const { caller, traceparent, headers = [] } = options;
  const forwarded = [...forwardedHeaders, ...(caller === undefined ? credentials : []), ...headers];
  const headersOf = (context: HandlerContext): Record<string, string> => {
    const call = callOf(context);
    const metadata: Record<string, string> = {};
    for (const name of forwarded) {
      const value = call.header(name);
      if (value !== undefined) metadata[name] = value;
    }
    const trace = traceparent?.();
    if (trace !== undefined) metadata["traceparent"] = trace;
    if (caller !== undefined) {
      metadata[callerHeader] = encodeCaller(caller(call));
      metadata["x-request-id"] = call.requestId;
    }
    return metadata;
  };
  const impl: Record<string, unknown> = {};
  for (const method of service.methods) impl[method.localName] = forward(method, transport, headersOf);
  return [service, impl as ServiceBinding[1]];
}

type HeadersOf = (context: HandlerContext) => Record<string, string>;

function forward(method: DescMethod, transport: Transport, headersOf: HeadersOf): unknown {
  switch (method.methodKind) {
    case "unary":
      return (request: Message, context: HandlerContext) =>
        forwardUnary(method as DescMethodUnary, transport, request, context, headersOf);
    case "client_streaming":
      return async (requests: AsyncIterable<Message>, context: HandlerContext) => {
        let last: Message | undefined;
        for await (const message of forwardStream(
          method as DescMethodStreaming,
          transport,
          requests,
          context,
          headersOf,
        ))
          last = message;
        return last;
      };
    case "server_streaming":
      return (request: Message, context: HandlerContext) =>
        forwardStream(method as DescMethodStreaming, transport, one(request), context, headersOf);
    case "bidi_streaming":
      return (requests: AsyncIterable<Message>, context: HandlerContext) =>
        forwardStream(method as DescMethodStreaming, transport, requests, context, headersOf);
  }
}

async function forwardUnary(
  method: DescMethodUnary<DescMessage, DescMessage>,
  transport: Transport,
  request: Message,
  context: HandlerContext,
  headersOf: HeadersOf,
): Promise<Message> {
  try {
    const answer = await transport.unary(
      method,
      context.signal,
      context.timeoutMs(),
      headersOf(context),
      request as never,
    );
    answer.header.forEach((value, name) => copyHeader(context.responseHeader, name, value));
    answer.trailer.forEach((value, name) => copyHeader(context.responseTrailer, name, value));
    return answer.message;
  } catch (reason) {
    throw own(reason);
  }
}

async function* forwardStream(
  method: DescMethodStreaming<DescMessage, DescMessage>,
  transport: Transport,
  requests: AsyncIterable<Message>,
  context: HandlerContext,
  headersOf: HeadersOf,
): AsyncIterable<Message> {
  try {
    const answer = await transport.stream(
      method,
      context.signal,
      context.timeoutMs(),
      headersOf(context),
      requests as never,
    );
    yield* answer.message;
  } catch (reason) {
    throw own(reason);
  }
}

const answerHeaders = new Set(["retry-after", "www-authenticate"]);

function copyHeader(into: Headers, name: string, value: string): void {
  if (name === "set-cookie") into.append(name, value);
  else if (answerHeaders.has(name) || name.startsWith("x-")) into.set(name, value);
}

// An error from the wire keeps code, words and details; of its metadata only what the caller should see.
function own(reason: unknown): unknown {
  if (!(reason instanceof ConnectError)) return reason;
  const metadata = new Headers();
  reason.metadata.forEach((value, name) => copyHeader(metadata, name, value));
  const error = new ConnectError(reason.rawMessage, reason.code, metadata, undefined, reason);
  error.details = reason.details;
  return error;
}
