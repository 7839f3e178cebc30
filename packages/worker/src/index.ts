export { areNameServers } from "./are-name-servers.ts";
export type { JobContext, JobHandler } from "./job-context.ts";
export { Outcome } from "./outcome.ts";
export { pluginSettings } from "./plugin-settings.ts";
export type { Floors } from "./priority-floors.ts";
export { startWorker, type Worker, type WorkerStatus } from "./start-worker.ts";
export type { WorkerCommand } from "./worker-command.ts";
export type { WorkerOptions } from "./worker-options.ts";
