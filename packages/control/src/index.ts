export { defaultControlConfig, type ControlConfig } from "./config.ts";
export type { ControlMetrics } from "./control-signals.ts";
export { startControl, type Control, type ControlDeps, type ControlStatus } from "./start-control.ts";
