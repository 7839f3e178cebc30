import { Code, ConnectError } from "@connectrpc/connect";
import { deadlineExceeded } from "./call-context.ts";
import { ReceiveWindow, SendWindow } from "./credit-window.ts";
import { abortError } from "./direct-transport.ts";
import { FrameCount, lostFrames } from "./frame-count.ts";
import {
  callMeta,
  encodeFrame,
  frameKinds,
  fromWireError,
  setHeaders,
  type Frame,
  type FrameKind,
  type FrameMeta,
} from "./nats-frame.ts";
import { piecesOf } from "./nats-pieces.ts";
import { mayBeDone, type PendingCalls } from "./pending-calls.ts";
import { toConnectError } from "./rpc-error.ts";

export interface NatsStreamCall {
  readonly subject: string;
  readonly timeoutMs: number | undefined;
  readonly header: HeadersInit | undefined;
  readonly signal: AbortSignal | undefined;
  readonly requests: AsyncIterable<Uint8Array>;
  /** Whether a call that is lost may have done something. */
  readonly changes: boolean;
  /** Are filled as they come. */
  readonly responseHeader: Headers;
  readonly responseTrailer: Headers;
}

/** Opens a stream and pumps both ways until it ends. */
export function streamOverNats(calls: PendingCalls, call: NatsStreamCall): Promise<AsyncIterable<Uint8Array>> {
  const { subject, timeoutMs, signal, requests, responseHeader, responseTrailer } = call;
  const { bus, limits } = calls;
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
      if (!bus.publish(inbound, encodeFrame(kind, meta, bytes, sent.next()), {})) lose(lostFrames(), false);
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
      calls.drop(id, server);
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
    const lose = (error: ConnectError, tellServer: boolean) => {
      fail(call.changes ? mayBeDone(error) : error, tellServer);
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
        lose(lostFrames(), true);
        return;
      }
      switch (frame.kind) {
        case frameKinds.accepted: {
          const { subject: serverId, server: serverSubject } = frame.meta;
          if (serverId === undefined || serverSubject === undefined) return;
          inbound = serverId;
          server = serverSubject;
          calls.take(serverSubject, id, {
            stream: () => ({ serverId: serverId.slice(serverId.lastIndexOf(".") + 1), sent: sent.last }),
            onReport(serverSent) {
              if (serverSent !== received.last) lose(lostFrames(), true);
            },
            onLost: (error) => lose(error, false),
          });
          resolve(incoming);
          void pump();
          return;
        }
        case frameKinds.message:
        case frameKinds.piece:
          setHeaders(responseHeader, frame.meta.headers);
          if (!incoming.accept(frame.payload, frame.kind === frameKinds.message)) {
            fail(new ConnectError("the server sends more than it may", Code.ResourceExhausted), true);
          }
          return;
        case frameKinds.end:
          setHeaders(responseHeader, frame.meta.headers);
          setHeaders(responseTrailer, frame.meta.trailers);
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
    const id = calls.register({
      onFailure: (error) => fail(error, true),
      onFrame,
      sweep(now) {
        if (server === undefined && unheardAt <= now) lose(calls.unheard(), false);
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
      calls.send(subject, encodeFrame(frameKinds.open, callMeta(timeoutMs, call.header)), id);
    } catch (reason) {
      fail(toConnectError(reason), false);
    }
  });
}
