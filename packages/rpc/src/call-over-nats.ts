import { Code, ConnectError } from "@connectrpc/connect";
import { deadlineExceeded } from "./call-context.ts";
import { abortError } from "./direct-transport.ts";
import { callMeta, encodeFrame, frameKinds, fromWireError, type FrameMeta } from "./nats-frame.ts";
import { mayBeDone, unavailable, type PendingCalls } from "./pending-calls.ts";
import { toConnectError } from "./rpc-error.ts";

const mostAsked = 8;

export interface NatsCall {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly timeoutMs: number | undefined;
  readonly header: HeadersInit | undefined;
  readonly signal: AbortSignal | undefined;
  /** Whether it may be made twice. */
  readonly repeatable: boolean;
}

export interface NatsAnswer {
  readonly bytes: Uint8Array;
  readonly meta: FrameMeta;
}

/** A unary call: one frame there, and one back, or a few where the answer is large. */
export function callOverNats(calls: PendingCalls, call: NatsCall): Promise<NatsAnswer> {
  const { subject, payload, timeoutMs, signal, repeatable } = call;
  const { limits } = calls;
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
    const settle = () => {
      for (const [id, server] of asked) calls.drop(id, server);
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
      calls.drop(id, server);
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
      const id = calls.register({
        onFailure: (error) => {
          // The broker tells at once that nobody is there for this one; an earlier one may still be answered.
          calls.drop(id, asked.get(id));
          asked.delete(id);
          if (asked.size === 0 || calls.closed) fail(error);
        },
        sweep(now) {
          if (deadline <= now) fail(deadlineExceeded());
          else if (inHand > 0) return;
          else if (unheardAt <= now) fail(repeatable ? calls.unheard() : mayBeDone(calls.unheard()));
          else if (againAt <= now) askAgain();
        },
        onReconnect: askAgain,
        onFrame(frame) {
          if (frame.kind === frameKinds.taken) {
            const { server } = frame.meta;
            if (server === undefined || asked.get(id) !== undefined) return;
            asked.set(id, server);
            inHand += 1;
            calls.take(server, id, { onLost: (error) => onLost(id, error) });
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
        calls.send(subject, encodeFrame(frameKinds.call, callMeta(timeoutMs, call.header), payload), id);
      } catch (reason) {
        calls.drop(id, undefined);
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
