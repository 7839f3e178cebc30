import type { HeaderList } from "@millrace/bus";
import { headerNames, jobSubject, priorityName, scheduleSubject } from "@millrace/protocol";
import type { Job } from "./job.ts";

const replaced: ReadonlySet<string> = new Set([
  headerNames.attempt,
  headerNames.maxAttempts,
  headerNames.runAt,
  headerNames.messageId,
]);

/** A job as it is published anew. */
export interface NextAttempt {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: HeaderList;
}

/**
 * The same job as a new message: the broker's copy of this attempt is acked when this one is stored. Its message id makes
 * a second publish after a crash harmless.
 */
export function nextAttempt(
  job: Job,
  next: { attempt: number; maxAttempts: number; scheduledMs?: number },
): NextAttempt {
  const headers: [string, string][] = job.delivery
    .headers()
    .filter(([name]) => !replaced.has(name) && !name.startsWith("Nats-"))
    .concat([
      // The same attempt again, postponed, must not be taken for the message it replaces.
      [
        headerNames.messageId,
        next.attempt > job.options.attempt
          ? `${job.id}:${next.attempt}`
          : `${job.id}:${next.attempt}:${job.delivery.seq}`,
      ],
      [headerNames.attempt, String(next.attempt)],
      [headerNames.maxAttempts, String(next.maxAttempts)],
    ]);
  const priority = priorityName(job.level);
  const data = job.delivery.data;
  if (next.scheduledMs === undefined) {
    return { subject: jobSubject(priority, job.queue, job.type, job.id), data, headers };
  }
  headers.push([headerNames.runAt, String(Math.round(next.scheduledMs))]);
  return { subject: scheduleSubject(priority, job.queue, job.type, job.id), data, headers };
}
