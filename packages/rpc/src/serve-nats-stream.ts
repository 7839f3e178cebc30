import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CallContext } from "./call-context.ts";
import { ReceiveWindow, SendWindow } from "./credit-window.ts";
import { decodeFrame, encodeFrame, frameKinds, headerPairs, toWireError, type FrameMeta } from "./nats-frame.ts";
import { silenceMs } from "./nats-liveness.ts";
import { piecesOf } from "./nats-pieces.ts";
import type { RpcBus } from "./nats-transport.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";

/** The serving end of one stream. */
export interface NatsStream {
  onFrame(data: Uint8Array): void;
  ping(): void;
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
  readonly pieceBytes: number;
  readonly onEnd: () => void;
}

export function serveNatsStream(options: StreamOptions): NatsStream {
  const { bus, pipeline, method, call, reply, pieceBytes } = options;
  const outgoing = new SendWindow();
  const incoming = new ReceiveWindow({
    grant: (count) => tell(encodeFrame(frameKinds.credit, { count })),
    maxBytes: method.readMaxBytes,
  });
  let lastHeard = performance.now();

  function tell(frame: Uint8Array): void {
    bus.publish(reply, frame, {});
  }

  function abort(error: ConnectError): void {
    outgoing.close();
    incoming.end(error);
    call.abort(error);
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
          tell(encodeFrame(kind, head(), piece));
        }
      }
      const trailers = headerPairs(call.responseTrailerIfSet);
      tell(encodeFrame(frameKinds.end, { ...head(), ...(trailers === undefined ? {} : { trailers }) }));
    } catch (reason) {
      tell(encodeFrame(frameKinds.error, { error: toWireError(toConnectError(reason)) }));
    } finally {
      outgoing.close();
      incoming.end();
      options.onEnd();
    }
  }

  tell(encodeFrame(frameKinds.accepted, { subject: options.subject }));
  const running = run();

  return {
    onFrame(data) {
      lastHeard = performance.now();
      let frame;
      try {
        frame = decodeFrame(data);
      } catch (reason) {
        abort(toConnectError(reason));
        return;
      }
      switch (frame.kind) {
        case frameKinds.message:
        case frameKinds.piece:
          if (!incoming.accept(frame.payload, frame.kind === frameKinds.message)) {
            const error = new ConnectError(
              `message size is larger than configured readMaxBytes ${method.readMaxBytes}, or the window was ignored`,
              Code.ResourceExhausted,
            );
            tell(encodeFrame(frameKinds.error, { error: toWireError(error) }));
            abort(error);
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
    ping() {
      if (performance.now() - lastHeard > silenceMs)
        abort(new ConnectError("the caller has gone silent", Code.Canceled));
      else tell(encodeFrame(frameKinds.ping));
    },
    async stop() {
      tell(
        encodeFrame(frameKinds.error, { error: toWireError(new ConnectError("the server stops", Code.Unavailable)) }),
      );
      abort(new ConnectError("the server stops", Code.Unavailable));
      await running;
    },
  };
}
