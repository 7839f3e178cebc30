import type { Message, MessageShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { Bus, BusMessage } from "@millrace/bus";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { gatewayRpcSubject } from "@millrace/protocol";
import { deadlineExceeded } from "./call-context.ts";
import { createCodec, type Codec } from "./codec.ts";
import { ReceiveWindow, SendWindow } from "./credit-window.ts";
import { abortError, whole } from "./direct-transport.ts";
import { FrameCount, lostFrames } from "./frame-count.ts";
import {
  decodeFrame,
  encodeFrame,
  frameKinds,
  fromWireError,
  headerPairs,
  type Frame,
  type FrameKind,
  type FrameMeta,
} from "./nats-frame.ts";
import { one } from "./one.ts";
import { piecesOf } from "./nats-pieces.ts";
import { toConnectError } from "./rpc-error.ts";
import { brokerSilentMs, probeMs, silentMs, unheardMs } from "./nats-liveness.ts";
import { ServerWatch } from "./server-watch.ts";

/** The part of the bus that request-reply needs. */
export type RpcBus = Pick<Bus, "publish" | "subscribe" | "newInbox" | "onStatus" | "whenConnected" | "flush">;

export interface NatsTransportOptions {
  /** For calls without a timeout of their own. */
  readonly defaultTimeoutMs?: number;
  /** Calls and streams that may wait for an answer at once. */
  readonly maxPending?: number;
  /** Bound on one answer. */
  readonly readMaxBytes?: number;
  /** A larger frame is sent in pieces; must be below the broker's max_payload. */
  readonly pieceBytes?: number;
  /** Servers that have calls, and the broker, are asked so often whether they are there. */
  readonly probeMs?: number;
  /** A server that does not answer that for so long is taken for dead, and its calls for lost. */
  readonly silentMs?: number;
  /** So is a call that no server has taken for so long. */
  readonly unheardMs?: number;
  /** What only reads is asked for again when no server has taken it for so long, and then for twice as long. */
  readonly askAgainMs?: number;
  /** While the broker does not answer a ping for so long, calls are refused at once. */
  readonly brokerSilentMs?: number;
}

const defaults = {
  // Above the longest wait of the contract (SubmitJob waits up to 60 s).
  defaultTimeoutMs: 75_000,
  maxPending: 10_000,
  readMaxBytes: 32 * 1024 * 1024,
  pieceBytes: 512 * 1024,
  probeMs,
  silentMs,
  unheardMs,
  askAgainMs: 3_000,
  brokerSilentMs,
};

// Calls without a timer of their own are looked over this often.
const mostSweepMs = 1_000;
const mostAsked = 8;

interface PendingCall {
  onFrame(frame: Frame): void;
  /** Neither the server nor anybody else will answer. */
  onFailure(error: ConnectError): void;
  /** Looks at what is late. */
  sweep(now: number): void;
  /** What was sent before may be lost. */
  onReconnect?(): void;
}

/**
 * A transport over NATS request-reply: calls go to `rpc.gateway.<service>.<Method>`, where a queue group
 * takes them; all answers come back through one wildcard subscription. Nothing waits for what will not come: a call that no
 * server takes, whose server is gone, or whose answer or frames are lost with a connection, fails as `unavailable`, or is asked
 * for again where it only reads.
 */
export function createNatsTransport(bus: RpcBus, options: NatsTransportOptions = {}): Transport & AsyncDisposable {
  const limits = { ...defaults, ...options };
  const inbox = bus.newInbox();
  const prefix = `${inbox}.`;
  const pending = new Map<string, PendingCall>();
  const watch = new ServerWatch(bus, prefix, limits.silentMs);
  const codecs = new Map<unknown, Codec>();
  const sweepMs = Math.min(mostSweepMs, limits.probeMs, limits.askAgainMs);
  let count = 0;
  let closed = false;
  let sweptAt = performance.now();
  let pingedAt: number | undefined;
  let brokerSilent = false;

  const subscription = bus.subscribe(`${inbox}.*`, {}, onAnswer);
  const sweeper = setInterval(sweep, sweepMs);
  sweeper.unref();
  const prober = setInterval(() => {
    watch.probe();
    if (pending.size > 0 || brokerSilent) pingBroker();
  }, limits.probeMs);
  prober.unref();
  const listening = bus.onStatus(({ connected }) => {
    if (!connected) return;
    // A copy: what is asked again is pending once more.
    const all = [...pending.values()];
    for (const call of all) call.onReconnect?.();
    watch.probe();
  });

  function onAnswer(message: BusMessage): void {
    const id = message.subject.slice(prefix.length);
    const call = pending.get(id);
    try {
      if (call === undefined) {
        // Else the caller has given up.
        watch.onAnswer(id, message);
      } else if (message.data.byteLength === 0) {
        // The broker itself answers a request on a subject without subscribers by a bare 503.
        call.onFailure(unavailable("no server answers this call"));
      } else {
        call.onFrame(decodeFrame(message.data));
      }
    } catch (reason) {
      call?.onFailure(toConnectError(reason));
    }
  }

  function sweep(): void {
    const now = performance.now();
    const late = now - sweptAt > 3 * sweepMs;
    sweptAt = now;
    // After a standstill of ours what came meanwhile is there, and not read yet.
    if (late) return;
    brokerSilent = pingedAt !== undefined && now - pingedAt >= limits.brokerSilentMs;
    // A copy: what is asked again is pending once more.
    const all = [...pending.values()];
    for (const call of all) call.sweep(now);
  }

  /** One at a time: while the broker hangs there is no answer, and no second question. */
  function pingBroker(): void {
    if (pingedAt !== undefined) return;
    pingedAt = performance.now();
    bus
      .flush()
      .catch(() => undefined)
      .finally(() => {
        pingedAt = undefined;
        brokerSilent = false;
      });
  }

  function codecOf(desc: Codec["desc"]): Codec {
    let codec = codecs.get(desc);
    if (codec === undefined) codecs.set(desc, (codec = createCodec(desc)));
    return codec;
  }

  function register(call: PendingCall): string {
    if (closed) throw unavailable("the transport is closed");
    if (brokerSilent) throw unavailable("the broker does not answer");
    if (pending.size >= limits.maxPending) throw unavailable("too many calls wait for answers");
    count += 1;
    const id = count.toString(36);
    pending.set(id, call);
    return id;
  }

  function send(subject: string, frame: Uint8Array, reply?: string): void {
    if (!bus.publish(subject, frame, reply === undefined ? {} : { reply })) throw unavailable("no connection to NATS");
  }

  function unheard(): ConnectError {
    return unavailable(brokerSilent ? "the broker does not answer" : "no server has taken the call in time");
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
      const startedAt = performance.now();
      const deadline = startedAt + (timeoutMs ?? limits.defaultTimeoutMs);
      // One for each time it was asked: answers in pieces must not mix. Undefined until a server has taken it.
      const asked = new Map<string, string | undefined>();
      let asks = 0;
      let inHand = 0;
      let unheardAt = startedAt + limits.unheardMs;
      let againMs = limits.askAgainMs;
      let againAt = startedAt + againMs;
      let timer: NodeJS.Timeout | undefined;
      const drop = (id: string, server: string | undefined) => {
        pending.delete(id);
        if (server !== undefined) watch.release(server, id);
      };
      const settle = () => {
        for (const [id, server] of asked) drop(id, server);
        asked.clear();
        if (timer !== undefined) clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const fail = (error: ConnectError) => {
        settle();
        reject(error);
      };
      const onAbort = () => {
        if (signal !== undefined) fail(abortError(signal));
      };
      const onLost = (id: string, error: ConnectError) => {
        const server = asked.get(id);
        drop(id, server);
        asked.delete(id);
        if (server !== undefined) inHand -= 1;
        // Another server has it.
        if (inHand > 0) return;
        if (!repeatable || asks >= mostAsked) {
          fail(repeatable ? error : mayBeDone(error));
          return;
        }
        unheardAt = performance.now() + limits.unheardMs;
        try {
          ask();
        } catch (reason) {
          fail(toConnectError(reason));
        }
      };
      const askAgain = () => {
        if (!repeatable || inHand > 0 || asks >= mostAsked) return;
        againMs *= 2;
        againAt = performance.now() + againMs;
        try {
          ask();
        } catch {
          // No room or no connection: the one before may still be answered, and the bounds stand.
        }
      };
      const ask = () => {
        let pieces: Uint8Array[] | undefined;
        let size = 0;
        let number = 0;
        const id = register({
          onFailure: (error) => {
            // The broker tells at once that nobody is there for this one; an earlier one may still be answered.
            drop(id, asked.get(id));
            asked.delete(id);
            if (asked.size === 0 || closed) fail(error);
          },
          sweep(now) {
            if (deadline <= now) fail(deadlineExceeded());
            else if (inHand > 0) return;
            else if (unheardAt <= now) fail(repeatable ? unheard() : mayBeDone(unheard()));
            else if (againAt <= now) askAgain();
          },
          onReconnect: askAgain,
          onFrame(frame) {
            if (frame.kind === frameKinds.taken) {
              const { server } = frame.meta;
              if (server === undefined || asked.get(id) !== undefined) return;
              asked.set(id, server);
              inHand += 1;
              watch.take(server, id, { onLost: (error) => onLost(id, error) });
              return;
            }
            number += 1;
            size += frame.payload.byteLength;
            if (frame.kind === frameKinds.error) {
              fail(fromWireError(frame.meta.error));
            } else if (frame.number !== number) {
              onLost(id, unavailable("a piece of the answer was lost with a connection"));
            } else if (size > limits.readMaxBytes) {
              fail(new ConnectError(`the answer is larger than ${limits.readMaxBytes} bytes`, Code.ResourceExhausted));
            } else if (frame.kind === frameKinds.piece) {
              (pieces ??= []).push(frame.payload.slice());
            } else {
              settle();
              resolve({
                bytes: pieces === undefined ? frame.payload : Buffer.concat([...pieces, frame.payload]),
                meta: frame.meta,
              });
            }
          },
        });
        asks += 1;
        asked.set(id, undefined);
        try {
          send(subject, encodeFrame(frameKinds.call, metaOf(timeoutMs, header), payload), prefix + id);
        } catch (reason) {
          drop(id, undefined);
          asked.delete(id);
          throw reason;
        }
      };
      if (signal?.aborted) {
        onAbort();
        return;
      }
      signal?.addEventListener("abort", onAbort, { once: true });
      // Only a timeout of the caller's own is worth a timer; the default is left to the sweep.
      if (timeoutMs !== undefined) timer = setTimeout(() => fail(deadlineExceeded()), timeoutMs);
      try {
        ask();
      } catch (reason) {
        fail(toConnectError(reason));
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
      let inbound: string | undefined;
      let server: string | undefined;
      let timer: NodeJS.Timeout | undefined;
      let settled = false;
      const unheardAt = performance.now() + limits.unheardMs;
      const sent = new FrameCount();
      const received = new FrameCount();
      const outgoing = new SendWindow();
      const iterator = requests[Symbol.asyncIterator]();
      const tell = (kind: FrameKind, meta?: FrameMeta, bytes?: Uint8Array) => {
        if (inbound === undefined) return;
        // A frame that goes nowhere is missing at the server, which would wait for it.
        if (!bus.publish(inbound, encodeFrame(kind, meta, bytes, sent.next()), {})) fail(lostFrames(), false);
      };
      const incoming = new ReceiveWindow({
        grant: (granted) => tell(frameKinds.credit, { count: granted }),
        maxBytes: limits.readMaxBytes,
        onLeave: () => {
          if (!settled) tell(frameKinds.cancel);
          settle();
        },
      });
      const settle = () => {
        settled = true;
        pending.delete(id);
        if (server !== undefined) watch.release(server, id);
        outgoing.close();
        if (timer !== undefined) clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        void iterator.return?.().then(undefined, () => {});
      };
      const fail = (error: ConnectError, tellServer: boolean) => {
        if (settled) return;
        settle();
        if (tellServer) tell(frameKinds.cancel);
        incoming.end(error);
        reject(error); // without effect once the stream is open
      };
      const pump = async () => {
        try {
          for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
            for (const [kind, bytes] of piecesOf(next.value, limits.pieceBytes)) {
              if (!(await outgoing.take())) return;
              tell(kind, undefined, bytes);
            }
          }
          if (!settled) tell(frameKinds.end);
        } catch (reason) {
          fail(toConnectError(reason), true);
        }
      };
      const onFrame = (frame: Frame): void => {
        if (!received.take(frame.number)) {
          fail(lostFrames(), true);
          return;
        }
        switch (frame.kind) {
          case frameKinds.accepted: {
            const { subject: serverId, server: serverSubject } = frame.meta;
            if (serverId === undefined || serverSubject === undefined) return;
            inbound = serverId;
            server = serverSubject;
            watch.take(serverSubject, id, {
              stream: () => ({ serverId: serverId.slice(serverId.lastIndexOf(".") + 1), sent: sent.last }),
              onReport(serverSent) {
                if (serverSent !== received.last) fail(lostFrames(), true);
              },
              onLost: (error) => fail(error, false),
            });
            resolve(incoming);
            void pump();
            return;
          }
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
      };
      const id = register({
        onFailure: (error) => fail(error, true),
        onFrame,
        sweep(now) {
          if (server === undefined && unheardAt <= now) fail(unheard(), false);
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
      clearInterval(prober);
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

/** Of what changes something: whoever calls has to know that trying again may do it twice. */
function mayBeDone(error: ConnectError): ConnectError {
  return unavailable(`${error.rawMessage}: it may have been done`);
}
