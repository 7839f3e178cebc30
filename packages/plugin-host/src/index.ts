export type { Breach } from "./breach.ts";
export type { HostPort } from "./call-answers.ts";
export {
  refusedCall,
  type CallRecording,
  type CallResult,
  type LogEntry,
  type LogLevel,
  type RecordedAnswer,
} from "./call-result.ts";
export { capabilitiesOf } from "./capabilities.ts";
export {
  createProgress,
  executorThreadUrl,
  readProgress,
  type ExecutorCall,
  type ExecutorData,
  type ExecutorProgress,
  type ExecutorReply,
  type ExecutorRequest,
  type ExecutorResult,
} from "./executor-protocol.ts";
export { kvEntryBytes } from "./host-calls.ts";
export type {
  CallContext,
  Capabilities,
  HostAnswer,
  HostAsk,
  HostCalls,
  HostFailure,
  HostFunction,
} from "./host-calls.ts";
export { inspectModule, type ModuleFacts, type ModuleInspection } from "./inspect-module.ts";
export { loadPlugin, type CallOptions, type LoadedPlugin, type LoadOptions } from "./load-plugin.ts";
export { hookExports, manifestExports } from "./manifest-exports.ts";
export { parseManifest, type ParsedManifest } from "./parse-manifest.ts";
export { defaultLimits, manifestLimits, type PluginLimits } from "./plugin-limits.ts";
export { PluginRefused } from "./plugin-refused.ts";
export type { PreparedModule } from "./prepare-module.ts";
