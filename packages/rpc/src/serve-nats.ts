import type { Message } from "@bufbuild/protobuf";
import type { BusMessage, SendOptions } from "@millrace/bus";
import { Code, ConnectError } from "@connectrpc/connect";
import { gatewayRpcSubject, headerNames, rpcSubject } from "@millrace/protocol";
import { boundValues } from "./bound-values.ts";
import { CallContext } from "./call-context.ts";
import { messageFromJson } from "./rest-request.ts";
import { serveNatsStream, type NatsStream } from "./serve-nats-stream.ts";
import {
  decodeFrame,
  encodeFrame,
  frameKinds,
  headerPairs,
  toWireError,
  type FrameMeta,
  type Probe,
  type ProbeReport,
} from "./nats-frame.ts";
import { abandonedMs, takenAfterMs } from "./nats-liveness.ts";
import { piecesOf } from "./nats-pieces.ts";
import type { RpcBus } from "./pending-calls.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { errorBody, errorCodeName, toConnectError } from "./rpc-error.ts";

export interface ServeNatsOptions {
  /** A larger answer is sent in pieces; must be below the broker's max_payload. */
  readonly pieceBytes?: number;
  /** A caller hears that its call is here once that has taken so long. */
  readonly takenAfterMs?: number;
  /** A stream whose caller has not asked about it for so long ends. */
  readonly abandonedMs?: number;
}

/** Calls served over NATS; dispose to stop taking new ones and end open streams. */
export interface NatsServer extends AsyncDisposable {
  readonly openStreams: number;
}

const defaults = { pieceBytes: 512 * 1024, takenAfterMs, abandonedMs };
/** The last token of the subject that answers which calls are here. Ids of streams have no such character. */
const probeToken = "_";
/** Calls that run when it stops are answered within, or not by it. */
const drainMs = 2_000;
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
  const { pieceBytes, ...liveness } = { ...defaults, ...options };
  const streams = new Map<string, NatsStream>();
  const inbox = bus.newInbox("streams");
  const prefix = `${inbox}.`;
  const server = prefix + probeToken;
  /** Framed calls that run, or whose answer waits for a connection, by where the answer goes; the oldest first. */
  const inHand = new Map<string, InHand>();
  let count = 0;
  let onIdle = (): void => {};

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
    const id = message.subject.slice(prefix.length);
    if (id !== probeToken) streams.get(id)?.onFrame(message.data);
    else if (message.reply !== "") answerProbe(message);
  });
  const teller = setInterval(tellTaken, liveness.takenAfterMs);
  teller.unref();
  const sweeper = setInterval(() => {
    for (const stream of streams.values()) stream.sweep(liveness.abandonedMs);
  }, liveness.abandonedMs / 4);
  sweeper.unref();
  const listening = bus.onStatus(({ connected }) => {
    // What was told may be lost with the old connection.
    if (connected) for (const call of inHand.values()) call.told = false;
  });

  /** Those who wait hear whom to ask whether their call is still in hand: then nobody waits for a server that is gone. */
  function tellTaken(): void {
    const before = performance.now() - liveness.takenAfterMs;
    for (const [reply, call] of inHand) {
      if (call.since > before) return;
      if (!call.told) call.told = bus.publish(reply, encodeFrame(frameKinds.taken, { server }), {});
    }
  }

  /**
   * What has ended was answered before this report, on the same connection and so in this order: a caller that has got no
   * answer by then gets none.
   */
  function answerProbe({ data, reply }: BusMessage): void {
    try {
      const { probe } = decodeFrame(data).meta;
      if (probe !== undefined)
        bus.publish(reply, encodeFrame(frameKinds.probe, { report: reportOn(probe, reply) }), {});
    } catch {
      // Nothing that a caller of ours sends, so nobody waits for an answer.
    }
  }

  function reportOn(probe: Probe, reply: string): ProbeReport {
    const caller = reply.slice(0, reply.lastIndexOf(".") + 1);
    const gone = probe.calls.filter((id) => !inHand.has(caller + id));
    const known: [id: string, sent: number][] = [];
    for (const [id, serverId, sent] of probe.streams) {
      const stream = streams.get(serverId);
      if (stream === undefined) gone.push(id);
      else known.push([id, stream.probed(sent)]);
    }
    return { gone, streams: known };
  }

  function letGo(reply: string): void {
    if (inHand.delete(reply) && inHand.size === 0) onIdle();
  }

  /**
   * While there is no connection the caller waits on, and its answer goes out with the next one.
   * @returns false when it waits
   */
  function tell(reply: string, bytes: Uint8Array, sendOptions: SendOptions = {}): boolean {
    if (bus.publish(reply, bytes, sendOptions)) return true;
    // Nobody is left to hear that it cannot be sent, as one that is larger than the broker takes; the caller's deadline ends it.
    bus
      .whenConnected()
      .then(() => bus.publish(reply, bytes, sendOptions))
      .catch(() => undefined)
      .finally(() => letGo(reply));
    return false;
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
    const answer = (frames: Iterable<Uint8Array>) => {
      let sent = true;
      for (const frame of frames) sent = tell(reply, frame) && sent;
      if (sent) letGo(reply);
    };
    const fail = (reason: unknown) => {
      answer([encodeFrame(frameKinds.error, { error: toWireError(toConnectError(reason)) })]);
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
            server,
            pieceBytes,
            onEnd: () => streams.delete(id),
          }),
        );
        return;
      }
      requireUnary(method);
      const succeed = (message: Message) => answer(answerFrames(method, message, call, pieceBytes));
      const result = pipeline.unary(method, method.input.decode(payload, true), call);
      if (result instanceof Promise) inHand.set(reply, { since: performance.now(), told: false });
      settle(result, succeed, fail);
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
      clearInterval(sweeper);
      const streamsEnded = Promise.all([...streams.values()].map((stream) => stream.stop()));
      // Until then those who wait are told, when they ask, that their calls are still here.
      if (inHand.size > 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        onIdle = resolve;
        const late = setTimeout(resolve, drainMs);
        await promise;
        clearTimeout(late);
      }
      await streamsEnded;
      clearInterval(teller);
      listening[Symbol.dispose]();
      control[Symbol.dispose]();
    },
  };
}

interface InHand {
  /** On the clock of `performance.now()`. */
  readonly since: number;
  /** The caller knows that its call is here. */
  told: boolean;
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

function* answerFrames(
  method: PipelineMethod,
  message: Message,
  call: CallContext,
  pieceBytes: number,
): Iterable<Uint8Array> {
  const meta = answerMeta(call);
  let number = 0;
  for (const [kind, piece] of piecesOf(method.output.encode(message, true), pieceBytes)) {
    number += 1;
    yield encodeFrame(kind, kind === frameKinds.message ? meta : undefined, piece, number);
  }
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
