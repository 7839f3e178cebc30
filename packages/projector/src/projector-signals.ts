import type { JobPatch } from "@millrace/store";

/** What the projector logs to; pino's loggers fit. */
export interface ProjectorLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Where the projector counts. */
export interface ProjectorMetrics {
  /** Events and rows of a transaction, how long it took, and how many messages still wait. */
  written(batch: { events: number; rows: number; seconds: number; lagMessages: number; lagSeconds: number }): void;
  /** Rows that stand in the database; writing them began at `startedAtMs`, Unix ms. */
  projected(patches: readonly JobPatch[], startedAtMs: number): void;
  /** A message or an event that can never be projected. */
  skipped(): void;
  /** A job whose subject or headers are not of a job. */
  rejected(): void;
  /** A write that will be tried again. */
  writeFailed(): void;
}

export const noProjectorMetrics: ProjectorMetrics = {
  written: () => undefined,
  projected: () => undefined,
  skipped: () => undefined,
  rejected: () => undefined,
  writeFailed: () => undefined,
};
