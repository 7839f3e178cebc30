import type { JobPatch } from "@millrace/store";
import type { LogHold } from "./trim-logs.ts";

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
  /** What holds a log, at each look. */
  held(hold: LogHold): void;
  /** About so many messages have left a log. */
  trimmed(log: string, messages: number): void;
  /** A job that nobody would have delivered any more was published again. */
  repaired(why: string): void;
  /** A job was published again at the end of its log, so that it does not hold all that came after it. */
  moved(log: string): void;
  /** Messages that came in by a log and are not announced yet. */
  announcing(lagMessages: number): void;
}

export const noProjectorMetrics: ProjectorMetrics = {
  written: () => undefined,
  projected: () => undefined,
  skipped: () => undefined,
  rejected: () => undefined,
  writeFailed: () => undefined,
  held: () => undefined,
  trimmed: () => undefined,
  repaired: () => undefined,
  moved: () => undefined,
  announcing: () => undefined,
};
