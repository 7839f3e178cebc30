import { PluginRuntimeService } from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";
import { currentTraceparent, withSpan, z } from "@millrace/service-kit";
import type { Interceptor } from "./extension-table.ts";
import { pluginHeaderName, pluginHeaders } from "./plugin-headers.ts";

/** What an interceptor is told of a request. */
export interface InterceptorInput {
  readonly phase: "before" | "after";
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly requestId: string;
  /** Of the answer, after the request. */
  readonly status?: number;
}

/** Calls of interceptors at once; above it they fail, open or closed. */
const mostRunning = 1_000;
const mostEntries = 64;
/** A worker's word that the interceptor took too long must come before we give up on the worker. */
const answerGraceMs = 50;

const output = z.strictObject({
  deny: z
    .strictObject({
      status: z.int().min(400).max(599).default(403),
      message: z.string().max(1024).default("denied by a plugin"),
    })
    .optional(),
  setHeaders: pluginHeaders,
  removeHeaders: z.array(pluginHeaderName).max(mostEntries).default([]),
  annotations: z
    .record(z.string().max(64), z.string().max(1024))
    .refine((annotations) => Object.keys(annotations).length <= mostEntries)
    .default({}),
});

/** What an interceptor says. */
export type InterceptorOutput = z.output<typeof output>;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** @returns a function that asks one interceptor, and throws when it fails, in whatever way */
export function createInterceptorRunner(
  transport: RpcTransport,
): (interceptor: Interceptor, input: InterceptorInput) => Promise<InterceptorOutput> {
  const client = createClient(PluginRuntimeService, transport);
  let running = 0;
  return async (interceptor, input) => {
    if (running >= mostRunning) throw new Error(`${mostRunning} interceptors run`);
    const { plugin: name, export: exportName, timeoutMs } = interceptor;
    const attributes = { "millrace.plugin": name, "millrace.export": exportName, "millrace.phase": input.phase };
    running++;
    try {
      return await withSpan("intercept", { attributes, traceparent: input.headers["traceparent"] }, async (span) => {
        const traceparent = currentTraceparent();
        const { output: bytes, error } = await client.invokePlugin(
          { name, export: exportName, input: encoder.encode(JSON.stringify(input)), timeoutMs },
          { timeoutMs: timeoutMs + answerGraceMs, ...(traceparent === undefined ? {} : { headers: { traceparent } }) },
        );
        if (error !== undefined) throw new Error(`${error.code}: ${error.message}`);
        const said = output.parse(bytes.length === 0 ? {} : JSON.parse(decoder.decode(bytes)));
        if (said.deny !== undefined && input.phase === "after") throw new Error("what was served cannot be denied");
        for (const [key, text] of Object.entries(said.annotations))
          span.setAttribute(`millrace.annotation.${key}`, text);
        return said;
      });
    } finally {
      running--;
    }
  };
}
