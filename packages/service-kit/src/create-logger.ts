import { isSpanContextValid, trace } from "@opentelemetry/api";
import { pino, stdTimeFunctions, type DestinationStream, type Logger, type LoggerOptions } from "pino";

export type { Logger } from "pino";

export interface LogOptions {
  /** Name of the service. */
  readonly name: string;
  readonly level?: string;
  /** Where lines go; default stdout. */
  readonly destination?: DestinationStream;
}

/** Fields that never reach a log, at the top of a line's object or one below it. */
const secretFields = ["password", "token", "secret", "authorization", "cookie"];

/**
 * A logger of JSON lines, with `trace_id` and `span_id` of the active span.
 *
 * Writes on the calling thread: pino's transports are threads that need bundling and do not start under Deno.
 */
export function createLogger({ name, level = "info", destination }: LogOptions): Logger {
  const options: LoggerOptions = {
    name,
    level,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`]), censor: "***" },
    mixin: activeTrace,
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function activeTrace(): object {
  const context = trace.getActiveSpan()?.spanContext();
  if (context === undefined || !isSpanContextValid(context)) return {};
  return { trace_id: context.traceId, span_id: context.spanId };
}
