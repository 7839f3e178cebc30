import { z } from "zod";
import { runtimeSettings } from "./runtime-settings.ts";

/** Settings that every service has; spread them into its schema. */
export const serviceSettings = {
  logLevel: runtimeSettings.logLevel,
  /** How long a stopping service may take before the process is ended, in ms. */
  stopTimeoutMs: z.number().int().min(100).max(3_600_000).default(30_000),
  /** Base URL of an OpenTelemetry collector (OTLP over HTTP); without it no span is made. */
  otlpEndpoint: z.url().optional().meta({ env: "OTEL_EXPORTER_OTLP_ENDPOINT" }),
  /** Share of traces that are recorded when the caller did not decide, 0..1. */
  traceRatio: z.number().min(0).max(1).default(1).meta({ env: "OTEL_TRACES_SAMPLER_ARG" }),
};
