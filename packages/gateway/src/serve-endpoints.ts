import { create, type Message } from "@bufbuild/protobuf";
import {
  InvokePluginRequestSchema,
  PluginRuntimeService,
  type InvokePluginResponse,
  type JobError,
} from "@millrace/protocol";
import {
  CallContext,
  Code,
  ConnectError,
  refuseExchange,
  toConnectError,
  type Exchange,
  type Pipeline,
  type ReplyHeaders,
} from "@millrace/rpc";
import { z, type Logger } from "@millrace/service-kit";
import type { ExtensionFeed } from "./extension-feed.ts";
import type { Endpoint } from "./extension-table.ts";
import { isRewritableInResponse, visibleHeaders } from "./guarded-headers.ts";
import { pluginHeaders } from "./plugin-headers.ts";

const prefix = "/ext/";
/** With base64 and the other fields around it, it must fit in a NATS message of 1 MiB. */
export const endpointBodyBytes = 512 << 10;
const endpointTimeoutMs = 60_000;

const answerForm = z.strictObject({
  status: z.int().min(200).max(599).default(200),
  headers: pluginHeaders,
  body: z.string().optional(),
  bodyBase64: z.base64().optional(),
});

/** By the code of the call's error; everything else is the plugin's own fault. */
const failureCodes: Readonly<Record<string, Code>> = {
  TIMED_OUT: Code.DeadlineExceeded,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  HANDLER_GONE: Code.Unavailable,
};

const invokePath = `/${PluginRuntimeService.typeName}/${PluginRuntimeService.method.invokePlugin.name}`;
const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/**
 * Serves `/ext/<plugin>/<path>` by the endpoints of plugins.
 * @param pipeline has PluginRuntimeService, with the same hooks as every other method; no door offers it
 * @returns false when the path is another
 */
export function serveEndpoints(
  feed: ExtensionFeed,
  pipeline: Pipeline,
  logger: Logger,
): (exchange: Exchange) => boolean {
  const method = pipeline.methods.get(invokePath);
  if (method === undefined) throw new TypeError("the pipeline has no PluginRuntimeService");

  async function invoke(exchange: Exchange, call: CallContext, target: Target, body: Uint8Array): Promise<void> {
    const { plugin, path, endpoint } = target;
    try {
      const input = encoder.encode(JSON.stringify(inputOf(exchange, call, path, body)));
      const request = create(InvokePluginRequestSchema, { name: plugin, export: endpoint.export, input });
      exchange.onGone(() => call.abort(new ConnectError("the caller went away", Code.Canceled)));
      const result: Message = await pipeline.unary(method as NonNullable<typeof method>, request, call);
      const { output, error } = result as InvokePluginResponse;
      if (error !== undefined) throw failed(plugin, error);
      reply(exchange, call, readAnswer(plugin, output));
    } catch (reason) {
      const error = toConnectError(reason);
      if (error.code === Code.Internal)
        logger.warn({ requestId: call.requestId, plugin, err: reason }, "endpoint failed");
      refuseExchange(exchange, { error }, call.requestId, false);
    }
  }

  return (exchange) => {
    if (!exchange.path.startsWith(prefix)) return false;
    const call = new CallContext({
      method: method.desc,
      protocolName: "rest",
      requestMethod: exchange.verb,
      url: exchange.path,
      headers: exchange.headers,
      address: exchange.address,
      timeoutMs: endpointTimeoutMs,
    });
    const target = findTarget(feed, exchange);
    if ("error" in target) {
      refuseExchange(exchange, target, call.requestId, false);
      return true;
    }
    exchange.readBody(endpointBodyBytes, (body, broken) => {
      if (broken === undefined) {
        void invoke(exchange, call, target, body);
        return;
      }
      const error =
        broken.code === Code.ResourceExhausted
          ? new ConnectError(`a body may have ${endpointBodyBytes} bytes`, Code.OutOfRange)
          : broken;
      refuseExchange(exchange, { error }, call.requestId, false);
    });
    return true;
  };
}

interface Target {
  readonly plugin: string;
  /** Begins with a slash, which stands for that after the plugin's name. */
  readonly path: string;
  readonly endpoint: Endpoint;
}

function findTarget(
  feed: ExtensionFeed,
  { path, verb }: Exchange,
): Target | { readonly error: ConnectError; readonly status?: number; readonly headers?: ReplyHeaders } {
  const [plugin = "", ...rest] = path.slice(prefix.length).split("/");
  const below = rest.join("/");
  const fitting = (feed.table?.endpoints.get(plugin) ?? []).filter(
    (one) => below === one.path || (one.wildcard && isBelow(below, one.path)),
  );
  const wanted = verb === "HEAD" ? "GET" : verb;
  const endpoint = fitting.find(({ methods }) => methods.length === 0 || methods.includes(wanted));
  if (endpoint !== undefined) return { plugin, path: `/${below}`, endpoint };
  if (fitting.length === 0) return { error: new ConnectError(`nothing is served at ${path}`, Code.NotFound) };
  const allow = [...new Set(fitting.flatMap(({ methods }) => methods))].toSorted().join(", ");
  return {
    error: new ConnectError(`${verb} is not allowed here`, Code.Unimplemented),
    status: 405,
    headers: { allow },
  };
}

/** `a/*` takes what is below a, and a itself. */
function isBelow(path: string, base: string): boolean {
  return path.startsWith(base) || `${path}/` === base;
}

function inputOf({ verb, query, headers }: Exchange, call: CallContext, path: string, body: Uint8Array): object {
  // Without a prototype: a caller may ask for `constructor` too.
  const asked = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of new URLSearchParams(query)) (asked[name] ??= []).push(value);
  return {
    method: verb,
    path,
    query: asked,
    headers: visibleHeaders(headers),
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("base64"),
    requestId: call.requestId,
  };
}

function failed(plugin: string, error: JobError): ConnectError {
  // What went wrong inside is for its author, in the log.
  const code = failureCodes[error.code] ?? Code.Internal;
  return new ConnectError(`plugin ${plugin} failed: ${error.code}`, code, undefined, undefined, error.message);
}

function readAnswer(plugin: string, output: Uint8Array): z.output<typeof answerForm> {
  try {
    return answerForm.parse(output.length === 0 ? {} : JSON.parse(decoder.decode(output)));
  } catch (reason) {
    throw new ConnectError(
      `plugin ${plugin} gave no answer of the right form`,
      Code.Internal,
      undefined,
      undefined,
      reason,
    );
  }
}

function reply(exchange: Exchange, call: CallContext, answer: z.output<typeof answerForm>): void {
  const headers: ReplyHeaders = { "content-type": "text/plain; charset=utf-8" };
  for (const [name, value] of Object.entries(answer.headers)) {
    const lower = name.toLowerCase();
    if (lower === "content-type" || isRewritableInResponse(lower)) headers[lower] = value;
  }
  headers["x-request-id"] = call.requestId;
  headers["x-content-type-options"] = "nosniff";
  // A page of a plugin shares its origin with the API and the dashboard: the browser must give it one of its own.
  headers["content-security-policy"] = "sandbox allow-scripts allow-forms allow-popups";
  const body = answer.bodyBase64 === undefined ? (answer.body ?? "") : Buffer.from(answer.bodyBase64, "base64");
  exchange.reply(answer.status, headers, body);
}
