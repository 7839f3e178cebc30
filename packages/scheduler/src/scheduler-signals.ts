/** What the scheduler logs to; pino's loggers fit. */
export interface SchedulerLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Where the scheduler counts. */
export interface SchedulerMetrics {
  /** Jobs whose time had come, and how late the earliest of them left, in seconds. */
  published(count: number, lateSeconds: number): void;
  /** One event was submitted to one handler of a plugin. */
  delivered(): void;
  /** Messages of EVENTS that a plugin was not offered: it was too far behind, or they had gone. */
  missed(plugin: string, count: number): void;
  /** A task of a plugin was submitted, so many seconds after its tick. */
  ticked(lateSeconds: number): void;
}

export const noSchedulerMetrics: SchedulerMetrics = {
  published: () => undefined,
  delivered: () => undefined,
  missed: () => undefined,
  ticked: () => undefined,
};
