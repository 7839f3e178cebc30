import { create, type DescMessage, type Message, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { CallContext } from "./call-context.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";

/** A transport whose other end is a pipeline in the same process: a function call, nothing is encoded. */
export function createDirectTransport(pipeline: Pipeline): Transport {
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const target = findMethod(pipeline, method.parent.typeName, method.name);
      const call = new CallContext({
        method: target.desc,
        protocolName: "direct",
        requestMethod: "POST",
        url: target.path,
        headers: new Headers(header),
        timeoutMs,
        signal,
        values: contextValues,
      });
      try {
        const message = await untilAborted(pipeline.unary(target, whole(method.input, input), call), signal);
        return {
          service: method.parent,
          method,
          stream: false,
          header: call.responseHeaderIfSet ?? new Headers(),
          trailer: call.responseTrailerIfSet ?? new Headers(),
          message: message as MessageShape<typeof method.output>,
        };
      } catch (reason) {
        throw toConnectError(reason);
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const target = findMethod(pipeline, method.parent.typeName, method.name);
      const call = new CallContext({
        method: target.desc,
        protocolName: "direct",
        requestMethod: "POST",
        url: target.path,
        headers: new Headers(header),
        timeoutMs,
        signal,
        values: contextValues,
      });
      const messages = pipeline.stream(target, wholeEach(method.input, input), call);
      return {
        service: method.parent,
        method,
        stream: true,
        header: call.responseHeader,
        trailer: call.responseTrailer,
        message: messages as AsyncIterable<MessageShape<typeof method.output>>,
      };
    },
  };
}

export function findMethod(pipeline: Pipeline, service: string, method: string): PipelineMethod {
  const found = pipeline.methods.get(`/${service}/${method}`);
  if (found === undefined) throw new ConnectError(`${service}/${method} is not served here`, Code.Unimplemented);
  return found;
}

export function whole<D extends DescMessage>(desc: D, input: MessageInitShape<D>): Message {
  return (input as Message).$typeName === undefined ? create(desc, input) : (input as Message);
}

async function* wholeEach<D extends DescMessage>(
  desc: D,
  inputs: AsyncIterable<MessageInitShape<D>>,
): AsyncIterable<Message> {
  for await (const input of inputs) yield whole(desc, input);
}

/** Lets go of a call when its caller does; the method hears of it by its own signal. */
export function untilAborted<T>(result: T | Promise<T>, signal: AbortSignal | undefined): T | Promise<T> {
  if (signal === undefined || !(result instanceof Promise)) return result;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError(signal));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    result.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

export function abortError(signal: AbortSignal): ConnectError {
  return signal.reason instanceof ConnectError
    ? signal.reason
    : new ConnectError("the call was aborted", Code.Canceled, undefined, undefined, signal.reason);
}
