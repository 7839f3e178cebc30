export { announceSettings, processSettings, type ProcessesBucket } from "./announce-settings.ts";
export { brokerSettings, namespaceSettings, streamSettings } from "./broker-settings.ts";
export { byteSetting } from "./byte-setting.ts";
export { ConfigError, type ConfigProblem } from "./config-error.ts";
export { createLogger, type Logger, type LogOptions } from "./create-logger.ts";
export { createMetrics, type Metrics } from "./create-metrics.ts";
export { createOpsHandler, type OpsContext, type OpsHandler } from "./create-ops-handler.ts";
export { databaseSettings } from "./database-settings.ts";
export { followSettings, takeSettings, type SettingsBucket, type SettingsFollower } from "./follow-settings.ts";
export { grpcSecurityOf, grpcSettings } from "./grpc-settings.ts";
export { Health, type HealthPart, type MissingPart, type Readiness } from "./health.ts";
export { LiveConfig, type SettingView } from "./live-config.ts";
export { loadConfig, type ConfigInputs, type ConfigSource, type LoadedConfig } from "./load-config.ts";
export { loadStoreProcess } from "./load-store-process.ts";
export { PartStack, stopInTime, stopWithinMs, type PartStackOptions, type StopLogger } from "./part-stack.ts";
export { runService, type RunOptions } from "./run-service.ts";
export { checkRuntimeSetting, runtimeSettings } from "./runtime-settings.ts";
export { serviceSettings } from "./service-settings.ts";
export { settingMessage } from "./setting-message.ts";
export { startOpsServer, type OpsServer, type OpsServerOptions } from "./start-ops-server.ts";
export { startTracing, type TracingOptions } from "./start-tracing.ts";
export {
  contextFromTraceparent,
  currentTraceparent,
  linkFromTraceparent,
  startSpan,
  traceparentOf,
  tracingEnabled,
  withSpan,
  type SpanOptions,
} from "./trace-context.ts";
export { within } from "./within.ts";
export { SpanKind, SpanStatusCode, type Attributes, type Context, type Link, type Span } from "@opentelemetry/api";
export { z } from "zod";
