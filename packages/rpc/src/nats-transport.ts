import type { Message, MessageShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { Bus, BusMessage } from "@millrace/bus";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { gatewayRpcSubject } from "@millrace/protocol";
import { deadlineExceeded } from "./call-context.ts";
import { createCodec, type Codec } from "./codec.ts";
import { ReceiveWindow, SendWindow } from "./credit-window.ts";
import { abortError, whole } from "./direct-transport.ts";
import {
  decodeFrame,
  encodeFrame,
  frameKinds,
  fromWireError,
  headerPairs,
  type Frame,
  type FrameMeta,
} from "./nats-frame.ts";
import { one } from "./one.ts";
import { piecesOf } from "./nats-pieces.ts";
import { toConnectError } from "./rpc-error.ts";
import { pingMs, silenceMs } from "./nats-liveness.ts";

/** The part of the bus that request-reply needs. */
export type RpcBus = Pick<Bus, "publish" | "subscribe" | "newInbox" | "onStatus" | "whenConnected">;

export interface NatsTransportOptions {
  /** For calls without a timeout of their own. */
  readonly defaultTimeoutMs?: number;
  /** Calls and streams that may wait for an answer at once. */
  readonly maxPending?: number;
  /** Bound on one answer. */
  readonly readMaxBytes?: number;
  /** A larger frame is sent in pieces; must be below the broker's max_payload. */
  readonly pieceBytes?: number;
}

const defaults = {
  // Above the longest wait of the contract (SubmitJob waits up to 60 s).
  defaultTimeoutMs: 75_000,
  maxPending: 10_000,
  readMaxBytes: 32 * 1024 * 1024,
  pieceBytes: 512 * 1024,
};

// Calls without a timer of their own are looked over this often.
const sweepMs = 1_000;
// A request or its answer is lost when the connection of either side breaks, and nobody says so: what only reads is asked for again
// after so long, and then after twice as long, so often. Far above what a server needs.
const askAgainMs = 5_000;
const mostAsked = 8;

interface PendingCall {
  readonly deadline: number;
  /** Undefined where to ask again might do something twice. */
  again: { readonly at: number; ask(): void } | undefined;
  onFrame(frame: Frame): void;
  onFailure(error: ConnectError): void;
  /** Streams say now and then that they are alive. */
  readonly ping: (() => void) | undefined;
}

/**
 * A transport over NATS request-reply: calls go to `rpc.gateway.<service>.<Method>`, where a queue group
 * takes them; all answers come back through one wildcard subscription.
 */
export function createNatsTransport(bus: RpcBus, options: NatsTransportOptions = {}): Transport & AsyncDisposable {
  const limits = { ...defaults, ...options };
  const inbox = bus.newInbox();
  const prefix = `${inbox}.`;
  const pending = new Map<string, PendingCall>();
  const codecs = new Map<unknown, Codec>();
  let count = 0;
  let closed = false;

  const subscription = bus.subscribe(`${inbox}.*`, {}, onAnswer);
  const sweeper = setInterval(sweep, sweepMs);
  sweeper.unref();
  const pinger = setInterval(() => {
    for (const call of pending.values()) call.ping?.();
  }, pingMs);
  pinger.unref();
  const listening = bus.onStatus(({ connected }) => {
    if (!connected) return;
    // The answer may have come while nobody could hear it. A copy: what is asked again is pending once more.
    const all = [...pending.values()];
    for (const call of all) call.again?.ask();
  });

  function onAnswer(message: BusMessage): void {
    const call = pending.get(message.subject.slice(prefix.length));
    if (call === undefined) return; // the caller has given up
    const { data } = message;
    if (data.byteLength === 0) {
      // The broker itself answers a request on a subject without subscribers by a bare 503.
      call.onFailure(unavailable("no server answers this call"));
      return;
    }
    try {
      call.onFrame(decodeFrame(data));
    } catch (reason) {
      call.onFailure(toConnectError(reason));
    }
  }

  function sweep(): void {
    const now = performance.now();
    // A copy: what is asked again is pending once more.
    const all = [...pending.values()];
    for (const call of all) {
      if (call.deadline <= now) call.onFailure(deadlineExceeded());
      else if (call.again !== undefined && call.again.at <= now) call.again.ask();
    }
  }

  function codecOf(desc: Codec["desc"]): Codec {
    let codec = codecs.get(desc);
    if (codec === undefined) codecs.set(desc, (codec = createCodec(desc)));
    return codec;
  }

  function register(call: PendingCall): string {
    if (closed) throw unavailable("the transport is closed");
    if (pending.size >= limits.maxPending) throw unavailable("too many calls wait for answers");
    count += 1;
    const id = count.toString(36);
    pending.set(id, call);
    return id;
  }

  function send(subject: string, frame: Uint8Array, reply?: string): void {
    if (!bus.publish(subject, frame, reply === undefined ? {} : { reply })) throw unavailable("no connection to NATS");
  }

  function metaOf(timeoutMs: number | undefined, header: HeadersInit | undefined): FrameMeta | undefined {
    const headers = header === undefined ? undefined : headerPairs(new Headers(header));
    if (timeoutMs === undefined && headers === undefined) return undefined;
    return {
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(headers === undefined ? {} : { headers }),
    };
  }

  /** One frame there, one back. @param repeatable whether the call may be made twice */
  function callSmall(
    subject: string,
    payload: Uint8Array,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    signal: AbortSignal | undefined,
    repeatable: boolean,
  ): Promise<{ bytes: Uint8Array; meta: FrameMeta }> {
    return new Promise((resolve, reject) => {
      // One for each time it was asked: answers in pieces must not mix.
      const ids: string[] = [];
      const deadline = performance.now() + (timeoutMs ?? limits.defaultTimeoutMs);
      let timer: NodeJS.Timeout | undefined;
      let settled = false;
      const settle = () => {
        settled = true;
        for (const id of ids) pending.delete(id);
        if (timer !== undefined) clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const onFailure = (error: ConnectError) => {
        settle();
        reject(error);
      };
      const onAbort = () => {
        if (signal !== undefined) onFailure(abortError(signal));
      };
      const ask = () => {
        let pieces: Uint8Array[] | undefined;
        let size = 0;
        const call: PendingCall = {
          deadline,
          ping: undefined,
          again: undefined,
          onFailure,
          onFrame(frame) {
            size += frame.payload.byteLength;
            if (size > limits.readMaxBytes) {
              onFailure(
                new ConnectError(`the answer is larger than ${limits.readMaxBytes} bytes`, Code.ResourceExhausted),
              );
            } else if (frame.kind === frameKinds.piece) {
              (pieces ??= []).push(frame.payload.slice());
            } else if (frame.kind === frameKinds.message) {
              settle();
              resolve({
                bytes: pieces === undefined ? frame.payload : Buffer.concat([...pieces, frame.payload]),
                meta: frame.meta,
              });
            } else {
              onFailure(fromWireError(frame.meta.error));
            }
          },
        };
        const id = register(call);
        ids.push(id);
        if (repeatable && ids.length < mostAsked) {
          const at = performance.now() + askAgainMs * 2 ** (ids.length - 1);
          call.again = { at, ask: () => askAgain(call) };
        }
        send(subject, encodeFrame(frameKinds.call, metaOf(timeoutMs, header), payload), prefix + id);
      };
      const askAgain = (call: PendingCall) => {
        call.again = undefined;
        if (settled) return;
        try {
          ask();
        } catch {
          // No room or no connection: the one before may still be answered, and the deadline stands.
        }
      };
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener("abort", onAbort, { once: true });
      // Only a timeout of the caller's own is worth a timer; the default is left to the sweep.
      if (timeoutMs !== undefined) timer = setTimeout(() => onFailure(deadlineExceeded()), timeoutMs);
      try {
        ask();
      } catch (reason) {
        onFailure(toConnectError(reason));
      }
    });
  }

  /** Opens a stream and pumps both ways until it ends. */
  function openStream(
    subject: string,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    signal: AbortSignal | undefined,
    requests: AsyncIterable<Uint8Array>,
    responseHeader: Headers,
    responseTrailer: Headers,
  ): Promise<AsyncIterable<Uint8Array>> {
    return new Promise((resolve, reject) => {
      let server: string | undefined;
      let lastHeard = performance.now();
      let timer: NodeJS.Timeout | undefined;
      const outgoing = new SendWindow();
      const iterator = requests[Symbol.asyncIterator]();
      const tell = (frame: Uint8Array) => {
        if (server !== undefined) bus.publish(server, frame, {});
      };
      const incoming = new ReceiveWindow({
        grant: (granted) => tell(encodeFrame(frameKinds.credit, { count: granted })),
        maxBytes: limits.readMaxBytes,
        onLeave: () => {
          tell(encodeFrame(frameKinds.cancel));
          settle();
        },
      });
      const settle = () => {
        pending.delete(id);
        outgoing.close();
        if (timer !== undefined) clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        void iterator.return?.().then(undefined, () => {});
      };
      const fail = (error: ConnectError, tellServer: boolean) => {
        if (tellServer) tell(encodeFrame(frameKinds.cancel));
        settle();
        incoming.end(error);
        reject(error); // without effect once the stream is open
      };
      const pump = async () => {
        try {
          for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
            for (const [kind, bytes] of piecesOf(next.value, limits.pieceBytes)) {
              if (!(await outgoing.take())) return;
              tell(encodeFrame(kind, undefined, bytes));
            }
          }
          tell(encodeFrame(frameKinds.end));
        } catch (reason) {
          fail(toConnectError(reason), true);
        }
      };
      const id = register({
        deadline: Number.POSITIVE_INFINITY,
        again: undefined,
        ping() {
          if (performance.now() - lastHeard > silenceMs) fail(unavailable("the server has gone silent"), true);
          else tell(encodeFrame(frameKinds.ping));
        },
        onFailure: (error) => fail(error, true),
        onFrame(frame) {
          lastHeard = performance.now();
          switch (frame.kind) {
            case frameKinds.accepted:
              server = frame.meta.subject;
              resolve(incoming);
              void pump();
              return;
            case frameKinds.message:
            case frameKinds.piece:
              setAll(responseHeader, frame.meta.headers);
              if (!incoming.accept(frame.payload, frame.kind === frameKinds.message)) {
                fail(new ConnectError("the server sends more than it may", Code.ResourceExhausted), true);
              }
              return;
            case frameKinds.end:
              setAll(responseHeader, frame.meta.headers);
              setAll(responseTrailer, frame.meta.trailers);
              settle();
              incoming.end();
              return;
            case frameKinds.credit:
              outgoing.grant(frame.meta.count ?? 0);
              return;
            case frameKinds.error:
              fail(fromWireError(frame.meta.error), false);
          }
        },
      });
      const onAbort = () => {
        if (signal !== undefined) fail(abortError(signal), true);
      };
      if (timeoutMs !== undefined) timer = setTimeout(() => fail(deadlineExceeded(), true), timeoutMs);
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener("abort", onAbort, { once: true });
      try {
        send(subject, encodeFrame(frameKinds.open, metaOf(timeoutMs, header)), prefix + id);
      } catch (reason) {
        fail(toConnectError(reason), false);
      }
    });
  }

  return {
    async unary(method, signal, timeoutMs, header, input) {
      const subject = gatewayRpcSubject(method.parent.typeName, method.name);
      const payload = codecOf(method.input).encode(whole(method.input, input), true);
      const responseHeader = new Headers();
      const responseTrailer = new Headers();
      let bytes: Uint8Array | undefined;
      if (payload.byteLength <= limits.pieceBytes) {
        const repeatable = method.idempotency === Idempotency.NO_SIDE_EFFECTS;
        const answer = await callSmall(subject, payload, timeoutMs, header, signal, repeatable);
        bytes = answer.bytes;
        setAll(responseHeader, answer.meta.headers);
        setAll(responseTrailer, answer.meta.trailers);
      } else {
        // Too large for one NATS message: a stream carries it in pieces.
        const answers = await openStream(
          subject,
          timeoutMs ?? limits.defaultTimeoutMs,
          header,
          signal,
          one(payload),
          responseHeader,
          responseTrailer,
        );
        for await (const answer of answers) bytes = answer;
      }
      if (bytes === undefined) throw new ConnectError("the server gave no answer", Code.Internal);
      return {
        service: method.parent,
        method,
        stream: false,
        header: responseHeader,
        trailer: responseTrailer,
        message: codecOf(method.output).decode(bytes, true) as MessageShape<typeof method.output>,
      };
    },
    async stream(method, signal, timeoutMs, header, input) {
      const subject = gatewayRpcSubject(method.parent.typeName, method.name);
      const responseHeader = new Headers();
      const responseTrailer = new Headers();
      const encoder = codecOf(method.input);
      const decoder = codecOf(method.output);
      const requests = (async function* () {
        for await (const one of input) yield encoder.encode(whole(method.input, one), true);
      })();
      const answers = await openStream(subject, timeoutMs, header, signal, requests, responseHeader, responseTrailer);
      const message = (async function* (): AsyncIterable<Message> {
        for await (const bytes of answers) yield decoder.decode(bytes, true);
      })();
      return {
        service: method.parent,
        method,
        stream: true,
        header: responseHeader,
        trailer: responseTrailer,
        message: message as AsyncIterable<MessageShape<typeof method.output>>,
      };
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      clearInterval(sweeper);
      clearInterval(pinger);
      for (const call of pending.values()) call.onFailure(unavailable("the transport is closed"));
      listening[Symbol.dispose]();
      subscription[Symbol.dispose]();
    },
  };
}

function setAll(into: Headers, pairs: FrameMeta["headers"]): void {
  if (pairs === undefined) return;
  for (const [name, value] of pairs) {
    if (name === "set-cookie") into.append(name, value);
    else into.set(name, value);
  }
}

function unavailable(message: string): ConnectError {
  return new ConnectError(message, Code.Unavailable);
}
