import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import type { Bus, BusMessage } from "@millrace/bus";
import { refusedCall, type CallResult } from "@millrace/plugin-host";
import { headerNames, InvokePluginRequestSchema, InvokePluginResponseSchema, invokeSubject } from "@millrace/protocol";
import { PluginCall } from "../executors/plugin-call.ts";
import { breachMessage } from "../job-events.ts";
import type { PluginCatalog } from "./plugin-catalog.ts";

/** All workers share the invocations. */
const group = "plugin-workers";
/** What fits into one message of the broker, with the logs. */
const mostAnswerBytes = 896 << 10;
const none = new Uint8Array(0);

export interface InvokeEndpointOptions {
  readonly bus: Bus;
  readonly catalog: PluginCatalog;
  invoke(call: PluginCall): void;
  onTrouble(error: unknown): void;
}

/** Answers who wants an export run outside of any queue: hooks, interceptors, endpoints, dry runs. */
export function serveInvocations(options: InvokeEndpointOptions): Disposable {
  const { bus } = options;
  return bus.subscribe(invokeSubject, { queue: group }, (message) => {
    const { reply } = message;
    if (reply === "") return;
    answer(options, message).then(
      (result) => bus.publish(reply, encode(fitting(result))),
      (error: unknown) => {
        options.onTrouble(error);
        bus.publish(
          reply,
          encode(refusedCall("HANDLER_FAILED", error instanceof Error ? error.message : String(error))),
        );
      },
    );
  });
}

async function answer({ catalog, invoke }: InvokeEndpointOptions, message: BusMessage): Promise<CallResult> {
  const traceparent = message.header(headerNames.traceparent) ?? "";
  const {
    name,
    export: exportName,
    input,
    timeoutMs,
    version,
  } = fromBinary(InvokePluginRequestSchema, new Uint8Array(message.data));
  const found = await catalog.find(name, version);
  if ("refused" in found) return refusedCall("HANDLER_GONE", found.refused);
  if (!found.exports.has(exportName)) {
    return refusedCall("HANDLER_GONE", `the manifest of ${found.label} declares no export "${exportName}"`);
  }
  const limitMs = timeoutMs === 0 ? found.timeoutMs : Math.min(timeoutMs, found.timeoutMs);
  const { promise, resolve } = Promise.withResolvers<CallResult>();
  invoke(new PluginCall(found, exportName, limitMs, { input, traceparent, onResult: resolve }));
  return promise;
}

function fitting(result: CallResult): CallResult {
  if (!result.ok || result.output.length <= mostAnswerBytes) return result;
  const figure = result.output.length;
  const breach = { resource: "output", figure, limit: mostAnswerBytes, unit: "bytes" } as const;
  const message = `output of ${figure} bytes; the limit of an invocation is ${mostAnswerBytes}`;
  return { ...refusedCall("OUTPUT_TOO_LARGE", message, breach), durationUs: result.durationUs, fuel: result.fuel };
}

function encode(result: CallResult): Uint8Array {
  const fields: MessageInitShape<typeof InvokePluginResponseSchema> = {
    output: result.ok ? result.output : none,
    ...(result.ok
      ? {}
      : {
          error: {
            code: result.code,
            message: result.message,
            retryable: result.retryable,
            ...breachMessage(result.breach),
          },
        }),
    runUs: BigInt(Math.round(result.durationUs)),
    fuel: BigInt(Math.round(result.fuel)),
    logs: result.logs.map(({ text }) => text),
  };
  return toBinary(InvokePluginResponseSchema, create(InvokePluginResponseSchema, fields));
}
