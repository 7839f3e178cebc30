export { defaultSchedulerConfig, type SchedulerConfig } from "./config.ts";
export { schedulerMetrics } from "./scheduler-metrics.ts";
export { type SchedulerLogger, type SchedulerMetrics } from "./scheduler-signals.ts";
export { startScheduler, type Scheduler, type SchedulerDeps, type SchedulerStatus } from "./start-scheduler.ts";
