import type { Message } from "@bufbuild/protobuf";
import type { BusMessage, SendOptions } from "@millrace/bus";
import { Code, ConnectError } from "@connectrpc/connect";
import { gatewayRpcSubject, headerNames, rpcSubject } from "@millrace/protocol";
import { boundValues } from "./bound-values.ts";
import { CallContext } from "./call-context.ts";
import { messageFromJson } from "./rest-request.ts";
import { serveNatsStream, type NatsStream } from "./serve-nats-stream.ts";
import { decodeFrame, encodeFrame, frameKinds, headerPairs, toWireError, type FrameMeta } from "./nats-frame.ts";
import { pingMs } from "./nats-liveness.ts";
import { piecesOf } from "./nats-pieces.ts";
import type { RpcBus } from "./nats-transport.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { errorBody, errorCodeName, toConnectError } from "./rpc-error.ts";

export interface ServeNatsOptions {
  /** A larger answer is sent in pieces; must be below the broker's max_payload. */
  readonly pieceBytes?: number;
}

/** Calls served over NATS; dispose to stop taking new ones and end open streams. */
export interface NatsServer extends AsyncDisposable {
  readonly openStreams: number;
}

const defaultPieceBytes = 512 * 1024;
// Headers of a bare client that a call may read.
const bareHeaders = ["traceparent", "authorization", "x-request-id"];
const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/**
 * Serves a pipeline as NATS request-reply, one queue group per service: servers are found and balanced by the broker.
 * Gateways call `rpc.gateway.<service>.<Method>` with frames. Bare clients call `rpc.<service>.<Method>`, unary methods only,
 * in protobuf or, when the request starts with `{` (or is empty), in JSON; whom they call for is nothing that they can say.
 */
export function serveNats(bus: RpcBus, pipeline: Pipeline, options: ServeNatsOptions = {}): NatsServer {
  const pieceBytes = options.pieceBytes ?? defaultPieceBytes;
  const streams = new Map<string, NatsStream>();
  const inbox = bus.newInbox("streams");
  const prefix = `${inbox}.`;
  let count = 0;

  const subscriptions = [...pipeline.methods.values()].flatMap((method) => {
    const { name, parent } = method.desc;
    const serve = (subject: string, answer: (method: PipelineMethod, message: BusMessage) => void) =>
      bus.subscribe(subject, { queue: parent.typeName }, (message) => {
        // Nobody waits for an answer without a reply subject.
        if (message.reply !== "") answer(method, message);
      });
    // Frames bring headers, and so the caller that a gateway speaks for: they are read where only gateways may publish.
    return [
      serve(gatewayRpcSubject(parent.typeName, name), serveFrame),
      serve(rpcSubject(parent.typeName, name), serveBare),
    ];
  });
  const control = bus.subscribe(`${inbox}.*`, {}, (message) => {
    streams.get(message.subject.slice(prefix.length))?.onFrame(message.data);
  });
  const pinger = setInterval(() => {
    for (const stream of streams.values()) stream.ping();
  }, pingMs);
  pinger.unref();

  /** While there is no connection the caller waits on, and its answer goes out with the next one. */
  function tell(reply: string, bytes: Uint8Array, sendOptions: SendOptions = {}): void {
    if (bus.publish(reply, bytes, sendOptions)) return;
    // Nobody is left to hear that it cannot be sent, as one that is larger than the broker takes; the caller's deadline ends it.
    bus
      .whenConnected()
      .then(() => bus.publish(reply, bytes, sendOptions))
      .catch(() => undefined);
  }

  function callOf(method: PipelineMethod, headers: CallHeaders, timeoutMs: number | undefined): CallContext {
    return new CallContext({
      method: method.desc,
      protocolName: "nats",
      requestMethod: "POST",
      url: method.path,
      headers,
      timeoutMs: timeoutMs === undefined ? undefined : Math.min(timeoutMs, pipeline.limits.maxTimeoutMs),
    });
  }

  function serveFrame(method: PipelineMethod, message: BusMessage): void {
    const { reply } = message;
    const fail = (reason: unknown) => {
      tell(reply, encodeFrame(frameKinds.error, { error: toWireError(toConnectError(reason)) }));
    };
    try {
      const { kind, meta, payload } = decodeFrame(message.data);
      const call = callOf(method, Object.fromEntries(meta.headers ?? []), meta.timeoutMs);
      if (kind === frameKinds.open) {
        count += 1;
        const id = count.toString(36);
        streams.set(
          id,
          serveNatsStream({
            bus,
            pipeline,
            method,
            call,
            reply,
            subject: prefix + id,
            pieceBytes,
            onEnd: () => streams.delete(id),
          }),
        );
        return;
      }
      requireUnary(method);
      const succeed = (answer: Message) => {
        const bytes = method.output.encode(answer, true);
        const meta = answerMeta(call);
        for (const [pieceKind, piece] of piecesOf(bytes, pieceBytes)) {
          tell(reply, encodeFrame(pieceKind, pieceKind === frameKinds.message ? meta : undefined, piece));
        }
      };
      settle(pipeline.unary(method, method.input.decode(payload, true), call), succeed, fail);
    } catch (reason) {
      fail(reason);
    }
  }

  function serveBare(method: PipelineMethod, message: BusMessage): void {
    const { reply, data } = message;
    const headers: CallHeaders = {};
    if (message.headerBytes.byteLength > 0) {
      for (const [name, value] of message.headers()) {
        if (bareHeaders.includes(name.toLowerCase())) headers[name.toLowerCase()] = value;
      }
    }
    const json = data.byteLength === 0 || data[0] === 0x7b;
    const call = callOf(method, headers, undefined);
    const fail = (reason: unknown) => {
      const error = toConnectError(reason);
      tell(reply, encoder.encode(JSON.stringify(errorBody(error, call.requestId))), {
        headers: [[headerNames.error, errorCodeName(error.code)]],
      });
    };
    try {
      requireUnary(method);
      if (data.byteLength > method.readMaxBytes) throw new ConnectError("the request is too large", Code.OutOfRange);
      boundValues(method.desc.input, data, !json);
      const request = json ? decodeBareJson(method, data) : method.input.decode(data, true);
      const succeed = (answer: Message) => {
        tell(reply, json ? encoder.encode(method.output.encodeJson(answer)) : method.output.encode(answer, true));
      };
      settle(pipeline.unary(method, request, call), succeed, fail);
    } catch (reason) {
      fail(reason);
    }
  }

  return {
    get openStreams() {
      return streams.size;
    },
    async [Symbol.asyncDispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
      clearInterval(pinger);
      await Promise.all([...streams.values()].map((stream) => stream.stop()));
      control[Symbol.dispose]();
    },
  };
}

type CallHeaders = Record<string, string>;

function settle(
  result: Message | Promise<Message>,
  succeed: (answer: Message) => void,
  fail: (reason: unknown) => void,
): void {
  const attempt = (answer: Message) => {
    try {
      succeed(answer);
    } catch (reason) {
      fail(reason);
    }
  };
  if (result instanceof Promise) result.then(attempt, fail);
  else attempt(result);
}

function answerMeta(call: CallContext): FrameMeta | undefined {
  const headers = headerPairs(call.responseHeaderIfSet);
  const trailers = headerPairs(call.responseTrailerIfSet);
  if (headers === undefined && trailers === undefined) return undefined;
  return { ...(headers === undefined ? {} : { headers }), ...(trailers === undefined ? {} : { trailers }) };
}

function requireUnary(method: PipelineMethod): void {
  if (method.desc.methodKind !== "unary") {
    throw new ConnectError(`${method.path.slice(1)} is a stream`, Code.Unimplemented);
  }
}

function decodeBareJson(method: PipelineMethod, data: Uint8Array): Message {
  let text: string;
  let json;
  try {
    text = decoder.decode(data);
    json = text === "" ? {} : JSON.parse(text);
  } catch (reason) {
    throw new ConnectError("malformed JSON", Code.InvalidArgument, undefined, undefined, reason);
  }
  return messageFromJson(method.desc.input, json);
}
