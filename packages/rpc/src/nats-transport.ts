import type { Message, MessageShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { gatewayRpcSubject } from "@millrace/protocol";
import { callOverNats } from "./call-over-nats.ts";
import { createCodec, type Codec } from "./codec.ts";
import { whole } from "./direct-transport.ts";
import { setHeaders } from "./nats-frame.ts";
import { one } from "./one.ts";
import { defaultNatsLimits, PendingCalls, type NatsTransportOptions, type RpcBus } from "./pending-calls.ts";
import { streamOverNats } from "./stream-over-nats.ts";

/**
 * A transport over NATS request-reply: calls go to `rpc.gateway.<service>.<Method>`, where a queue group
 * takes them; all answers come back through one wildcard subscription. Nothing waits for what will not come: a call that no
 * server takes, whose server is gone, or whose answer or frames are lost with a connection, fails as `unavailable`, or is asked
 * for again where it only reads.
 */
export function createNatsTransport(bus: RpcBus, options: NatsTransportOptions = {}): Transport & AsyncDisposable {
  const limits = { ...defaultNatsLimits, ...options };
  const calls = new PendingCalls(bus, limits);
  const codecs = new Map<unknown, Codec>();

  function codecOf(desc: Codec["desc"]): Codec {
    let codec = codecs.get(desc);
    if (codec === undefined) codecs.set(desc, (codec = createCodec(desc)));
    return codec;
  }

  return {
    async unary(method, signal, timeoutMs, header, input) {
      const subject = gatewayRpcSubject(method.parent.typeName, method.name);
      const payload = codecOf(method.input).encode(whole(method.input, input), true);
      const responseHeader = new Headers();
      const responseTrailer = new Headers();
      const repeatable = method.idempotency === Idempotency.NO_SIDE_EFFECTS;
      let bytes: Uint8Array | undefined;
      if (payload.byteLength <= limits.pieceBytes) {
        const answer = await callOverNats(calls, { subject, payload, timeoutMs, header, signal, repeatable });
        bytes = answer.bytes;
        setHeaders(responseHeader, answer.meta.headers);
        setHeaders(responseTrailer, answer.meta.trailers);
      } else {
        // Too large for one NATS message: a stream carries it in pieces.
        const answers = await streamOverNats(calls, {
          subject,
          timeoutMs: timeoutMs ?? limits.defaultTimeoutMs,
          header,
          signal,
          requests: one(payload),
          changes: !repeatable,
          responseHeader,
          responseTrailer,
        });
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
      const changes = method.methodKind !== "server_streaming";
      const call = { subject, timeoutMs, header, signal, requests, changes, responseHeader, responseTrailer };
      const answers = await streamOverNats(calls, call);
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
      calls[Symbol.dispose]();
    },
  };
}
