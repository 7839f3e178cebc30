import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type SpanExporter,
} from "@opentelemetry/sdk-trace";
import { setTracingEnabled, tracingEnabled } from "./trace-context.ts";

export interface TracingOptions {
  /** `service.name` of the spans. */
  readonly service: string;
  readonly version?: string;
  /** Base URL of an OTLP collector; without it, and without an exporter, nothing is recorded. */
  readonly endpoint?: string | undefined;
  /** Share of traces recorded when the caller did not decide, 0..1. */
  readonly ratio?: number;
  /** Takes the spans in place of the collector, as tests do. */
  readonly exporter?: SpanExporter;
}

/** Spans are flushed within this time when the process stops; a collector that is away must not hold it. */
const flushTimeoutMs = 3_000;

/**
 * Turns tracing on for the whole process. The second caller in one process shares what the first set up.
 *
 * Spans leave in the background, from a bounded queue: when the collector is away, spans are dropped, jobs are not.
 */
export function startTracing({ service, version, endpoint, ratio = 1, exporter }: TracingOptions): AsyncDisposable {
  if ((endpoint === undefined && exporter === undefined) || tracingEnabled())
    return { async [Symbol.asyncDispose]() {} };

  const target =
    exporter ?? new OTLPTraceExporter({ url: `${endpoint?.replace(/\/$/, "")}/v1/traces`, timeoutMillis: 5_000 });
  const processor = new BatchSpanProcessor({ exporter: target, maxQueueSize: 8_192, scheduledDelayMillis: 1_000 });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      "service.name": service,
      ...(version === undefined ? {} : { "service.version": version }),
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [processor],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  setTracingEnabled(true);

  return {
    async [Symbol.asyncDispose]() {
      setTracingEnabled(false);
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, flushTimeoutMs);
      try {
        await Promise.race([provider.shutdown(), late]);
      } catch {
        // The last spans are lost with the collector; nothing else depends on them.
      } finally {
        clearTimeout(timer);
        trace.disable();
        context.disable();
      }
    },
  };
}
