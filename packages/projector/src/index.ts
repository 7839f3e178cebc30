export { defaultProjectorConfig, type ProjectorConfig } from "./config.ts";
export { type ProjectorLogger, type ProjectorMetrics } from "./projector-signals.ts";
export { startProjector, type Projector, type ProjectorDeps, type ProjectorStatus } from "./start-projector.ts";
export { projectorMetrics } from "./projector-metrics.ts";
