export { controlSettings, defaultControlConfig, type ControlConfig } from "./config.ts";
export { controlPipeline } from "./control-pipeline.ts";
export { startControl, type Control, type ControlDeps } from "./start-control.ts";
