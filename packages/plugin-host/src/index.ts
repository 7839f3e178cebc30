export { refusedCall, type CallResult, type LogEntry, type LogLevel } from "./call-result.ts";
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
export { inspectModule, maxModuleBytes, type ModuleFacts, type ModuleInspection } from "./inspect-module.ts";
export { loadPlugin, LoadedPlugin, PluginRefused, type LoadOptions } from "./load-plugin.ts";
export { parseManifest, type ParsedManifest } from "./parse-manifest.ts";
export { defaultLimits, resolveLimits, type PluginLimits } from "./plugin-limits.ts";
