import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CallContext } from "./call-context.ts";
import { ReceiveWindow, SendWindow } from "./credit-window.ts";
import { FrameCount, lostFrames } from "./frame-count.ts";
import {
  decodeFrame,
  encodeFrame,
  frameKinds,
  headerPairs,
  toWireError,
  type FrameKind,
  type FrameMeta,
} from "./nats-frame.ts";
import { piecesOf } from "./nats-pieces.ts";
import type { RpcBus } from "./pending-calls.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";

/** The serving end of one stream. */
export interface NatsStream {
  onFrame(data: Uint8Array): void;
  /**
   * The caller has asked about it, and says how many frames it has sent.
   * @returns how many this side has sent
   */
  probed(sent: number): number;
  /** Ends it when its caller has not asked for too long. */
  sweep(abandonedMs: number): void;
  /** Ends the stream from this side; resolves when the method has let go. */
  stop(): Promise<void>;
}

interface StreamOptions {
  readonly bus: RpcBus;
  readonly pipeline: Pipeline;
  readonly method: PipelineMethod;
  readonly call: CallContext;
  /** Where frames to the caller go. */
  readonly reply: string;
  /** Where the caller's frames come in. */
  readonly subject: string;
  /** Where the caller asks whether it is still served. */
  readonly server: string;
  readonly pieceBytes: number;
  readonly onEnd: () => void;
}

export function serveNatsStream(options: StreamOptions): NatsStream {
  const { bus, pipeline, method, call, reply, pieceBytes } = options;
  const sent = new FrameCount();
  const received = new FrameCount();
  const outgoing = new SendWindow();
  const incoming = new ReceiveWindow({
    grant: (count) => tell(frameKinds.credit, { count }),
    maxBytes: method.readMaxBytes,
  });
  let lastHeard = performance.now();
  let over = false;

  /** A frame that goes nowhere is missing at the other end, where credits and messages would be waited for without an end. */
  function tell(kind: FrameKind, meta?: FrameMeta, payload?: Uint8Array): void {
    if (!bus.publish(reply, encodeFrame(kind, meta, payload, sent.next()), {})) abort(lostFrames());
  }

  function abort(error: ConnectError): void {
    if (over) return;
    over = true;
    outgoing.close();
    incoming.end(error);
    call.abort(error);
  }

  function refuse(error: ConnectError): void {
    if (over) return;
    tell(frameKinds.error, { error: toWireError(error) });
    abort(error);
  }

  async function* requests(): AsyncIterable<Message> {
    for await (const bytes of incoming) yield method.input.decode(bytes, true);
  }

  async function run(): Promise<void> {
    try {
      let headersSent = false;
      const head = (): FrameMeta | undefined => {
        if (headersSent) return undefined;
        headersSent = true;
        const headers = headerPairs(call.responseHeaderIfSet);
        return headers === undefined ? undefined : { headers };
      };
      for await (const message of pipeline.stream(method, requests(), call)) {
        const bytes = method.output.encode(message, true);
        for (const [kind, piece] of piecesOf(bytes, pieceBytes)) {
          if (!(await outgoing.take())) return;
          tell(kind, head(), piece);
        }
      }
      const trailers = headerPairs(call.responseTrailerIfSet);
      tell(frameKinds.end, { ...head(), ...(trailers === undefined ? {} : { trailers }) });
    } catch (reason) {
      // Who aborted it has told the caller, or cannot.
      if (!over) tell(frameKinds.error, { error: toWireError(toConnectError(reason)) });
    } finally {
      over = true;
      outgoing.close();
      incoming.end();
      options.onEnd();
    }
  }

  tell(frameKinds.accepted, { subject: options.subject, server: options.server });
  const running = run();

  return {
    onFrame(data) {
      lastHeard = performance.now();
      let frame;
      try {
        frame = decodeFrame(data);
      } catch (reason) {
        refuse(toConnectError(reason));
        return;
      }
      if (!received.take(frame.number)) {
        refuse(lostFrames());
        return;
      }
      switch (frame.kind) {
        case frameKinds.message:
        case frameKinds.piece:
          if (!incoming.accept(frame.payload, frame.kind === frameKinds.message)) {
            refuse(
              new ConnectError(
                `message size is larger than configured readMaxBytes ${method.readMaxBytes}, or the window was ignored`,
                Code.ResourceExhausted,
              ),
            );
          }
          return;
        case frameKinds.end:
          incoming.end();
          return;
        case frameKinds.credit:
          outgoing.grant(frame.meta.count ?? 0);
          return;
        case frameKinds.cancel:
          abort(new ConnectError("the caller went away", Code.Canceled));
      }
    },
    probed(callerSent) {
      lastHeard = performance.now();
      if (callerSent !== received.last) refuse(lostFrames());
      return sent.last;
    },
    sweep(abandonedMs) {
      if (performance.now() - lastHeard > abandonedMs)
        abort(new ConnectError("the caller has gone silent", Code.Canceled));
    },
    async stop() {
      refuse(new ConnectError("the server stops", Code.Unavailable));
      await running;
    },
  };
}
