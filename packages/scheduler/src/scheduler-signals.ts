/** What the scheduler logs to; pino's loggers fit. */
export interface SchedulerLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Where the scheduler counts. */
export interface SchedulerMetrics {
  /** Jobs taken from SCHEDULE into the table. */
  stored(count: number): void;
  /** Jobs whose time had come, and how late the earliest of them left, in seconds. */
  published(count: number, lateSeconds: number): void;
  /** Scheduled jobs that can never run. */
  refused(): void;
  /** One event was submitted to one handler of a plugin. */
  delivered(): void;
  /** A task of a plugin was submitted, so many seconds after its tick. */
  ticked(lateSeconds: number): void;
}

export const noSchedulerMetrics: SchedulerMetrics = {
  stored: () => undefined,
  published: () => undefined,
  refused: () => undefined,
  delivered: () => undefined,
  ticked: () => undefined,
};
