import {
  context,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Link,
  type Span,
  type SpanKind,
} from "@opentelemetry/api";

let enabled = false;

const off: Span = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
const tracer = trace.getTracer("millrace");

/** Whether spans are recorded at all; guards work that only a span needs. */
export function tracingEnabled(): boolean {
  return enabled;
}

export function setTracingEnabled(on: boolean): void {
  enabled = on;
}

/**
 * The active span as a W3C `traceparent` (Trace Context, section 3.2), to put into a header; `undefined` when there is none.
 * Costs one comparison when tracing is off.
 */
export function currentTraceparent(): string | undefined {
  return enabled ? traceparentOf(trace.getActiveSpan()) : undefined;
}

/** A span as a W3C `traceparent`. */
export function traceparentOf(span: Span | undefined): string | undefined {
  const spanContext = span?.spanContext();
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return undefined;
  return `00-${spanContext.traceId}-${spanContext.spanId}-${spanContext.traceFlags.toString(16).padStart(2, "0")}`;
}

// Later versions of the header may carry more fields after the flags; they are to be read as version 00.
const pattern = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** The context of a caller, for the parent of a span. A header that does not parse starts a new trace, as the standard asks. */
export function contextFromTraceparent(traceparent: string | undefined): Context {
  if (!enabled || traceparent === undefined || traceparent === "") return enabled ? context.active() : ROOT_CONTEXT;
  const spanContext = parseTraceparent(traceparent);
  return spanContext === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContext);
}

/** A link to the span that a `traceparent` names, for work on many jobs at once; `undefined` when there is none to link. */
export function linkFromTraceparent(traceparent: string | undefined): Link | undefined {
  if (!enabled || traceparent === undefined) return undefined;
  const spanContext = parseTraceparent(traceparent);
  return spanContext === undefined ? undefined : { context: spanContext };
}

function parseTraceparent(traceparent: string) {
  const [, traceId = "", spanId = "", flags = ""] = pattern.exec(traceparent) ?? [];
  const spanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(spanContext) ? spanContext : undefined;
}

export interface SpanOptions {
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Parent from another process; without it the active span is the parent. */
  readonly traceparent?: string | undefined;
  readonly links?: readonly Link[];
  /** Unix ms, for a span that began before it could be told. */
  readonly startTime?: number;
}

/** Starts a span that the caller ends. With tracing off it is an inert one, the same for all. */
export function startSpan(name: string, options: SpanOptions = {}): Span {
  return enabled ? startIn(contextFromTraceparent(options.traceparent), name, options) : off;
}

/** Runs `work` inside a span, which ends with it and records what it throws. */
export async function withSpan<T>(name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T> {
  if (!enabled) return work(off);
  const parent = contextFromTraceparent(options.traceparent);
  const span = startIn(parent, name, options);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    span.end();
  }
}

function startIn(parent: Context, name: string, { kind, attributes, links, startTime }: SpanOptions): Span {
  return tracer.startSpan(
    name,
    {
      ...(kind === undefined ? {} : { kind }),
      ...(attributes === undefined ? {} : { attributes }),
      ...(links === undefined ? {} : { links: [...links] }),
      ...(startTime === undefined ? {} : { startTime }),
    },
    parent,
  );
}
