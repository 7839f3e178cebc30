import type { HeaderList } from "@millrace/bus";
import {
  defaultMaxAttempts,
  headerNames,
  priorityName,
  sharedJobSubject,
  sharedScheduleSubject,
} from "@millrace/protocol";
import type { Job } from "./job.ts";

const replaced: ReadonlySet<string> = new Set([
  headerNames.id,
  headerNames.run,
  headerNames.attempt,
  headerNames.move,
  headerNames.maxAttempts,
  headerNames.runAt,
  headerNames.messageId,
]);

/** Which attempt a job is published anew for: the next one, or with `move` + 1 the same. */
export interface NextPosition {
  readonly attempt: number;
  readonly move: number;
  readonly maxAttempts: number;
  /** Unix ms by the broker's clock: it goes to the scheduler until then. */
  readonly scheduledMs?: number;
}

/** A job as it is published anew. */
export interface NextAttempt {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: HeaderList;
}

/**
 * The same job as a new message: the one that was delivered is acked when this one is stored. Its message id makes a second publish
 * after a crash harmless.
 */
export function nextAttempt(job: Job, { attempt, move, maxAttempts, scheduledMs }: NextPosition): NextAttempt {
  const { run } = job.options;
  const headers: [string, string][] = job.delivery
    .headers()
    .filter(([name]) => !replaced.has(name) && !name.startsWith("Nats-"));
  headers.push(
    [headerNames.messageId, `${job.id}:${run}:${attempt}:${move}`],
    [headerNames.id, job.id],
    [headerNames.attempt, String(attempt)],
  );
  if (run > 1) headers.push([headerNames.run, String(run)]);
  if (move > 0) headers.push([headerNames.move, String(move)]);
  if (maxAttempts !== defaultMaxAttempts) headers.push([headerNames.maxAttempts, String(maxAttempts)]);
  const priority = priorityName(job.level);
  const { data } = job.delivery;
  if (scheduledMs === undefined) {
    return { subject: sharedJobSubject(priority, job.queue, job.type, job.owner), data, headers };
  }
  headers.push([headerNames.runAt, String(Math.round(scheduledMs))]);
  return { subject: sharedScheduleSubject(priority, job.queue, job.type, job.owner), data, headers };
}
