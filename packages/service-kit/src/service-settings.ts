import { z } from "zod";
import { runtimeSettings } from "./runtime-settings.ts";

/** Settings that every service has; spread them into its schema. */
export const serviceSettings = {
  logLevel: runtimeSettings.logLevel,
  stopTimeoutMs: z
    .number()
    .int()
    .min(100)
    .max(3_600_000)
    .default(30_000)
    .describe("How long a stopping service may take before the process is ended, in ms"),
  otlpEndpoint: z.url().optional().meta({
    env: "OTEL_EXPORTER_OTLP_ENDPOINT",
    description: "Base URL of an OpenTelemetry collector (OTLP over HTTP); without it no span is made",
  }),
  traceRatio: z.number().min(0).max(1).default(1).meta({
    env: "OTEL_TRACES_SAMPLER_ARG",
    description: "Share of traces that are recorded when the caller did not decide, 0..1",
  }),
};
