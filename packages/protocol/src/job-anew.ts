import { formatJobOptions, headerNames } from "./headers.ts";
import { priorityName, priorityOrNormal } from "./priority.ts";
import { sharedJobSubject } from "./subjects.ts";
import type { Priority } from "./gen/millrace/jobs/v1/job_pb.ts";

/** A job as its row has it, to be published again. */
export interface JobAnew {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: Priority;
  /** Empty for what came over NATS. */
  readonly owner: string;
  readonly run: number;
  readonly attempt: number;
  readonly move: number;
  /** 0: not known. */
  readonly maxAttempts: number;
  /** By header name, as the publisher sent them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly replyTo: string;
  readonly traceparent: string;
}

// Said anew, by what the row knows.
const ours: ReadonlySet<string> = new Set(
  [
    headerNames.id,
    headerNames.run,
    headerNames.attempt,
    headerNames.move,
    headerNames.maxAttempts,
    // The time was kept in the row and is over: a worker must not send the job back.
    headerNames.runAt,
    headerNames.replyTo,
    headerNames.traceparent,
  ].map((name) => name.toLowerCase()),
);

/**
 * Subject and headers by which a job goes to its log again: as its publisher sent it, at this run, attempt and move.
 * @param messageId within the duplicate window a log stores it once
 */
export function jobAnew(
  job: JobAnew,
  messageId: string = anewMessageId(job),
): { readonly subject: string; readonly headers: readonly (readonly [name: string, value: string])[] } {
  const { id, queue, type, owner, run, attempt, move, maxAttempts, replyTo, traceparent } = job;
  const kept = Object.entries(job.headers).filter(([name]) => {
    const lower = name.toLowerCase();
    // Of the broker's own, an expectation or a time to live would be taken for ours.
    return !lower.startsWith("nats-") && !ours.has(lower);
  });
  const said = formatJobOptions({
    run,
    attempt,
    move,
    ...(maxAttempts > 0 ? { maxAttempts } : {}),
    replyTo,
    traceparent,
  });
  return {
    subject: sharedJobSubject(priorityName(priorityOrNormal(job.priority)), queue, type, owner),
    headers: [[headerNames.messageId, messageId], [headerNames.id, id], ...kept, ...said],
  };
}

/** What everything has that Millrace publishes anew, but repairs: a log may have forgotten the message that had it. */
export function anewMessageId(job: Pick<JobAnew, "id" | "run" | "attempt" | "move">): string {
  return `${job.id}:${job.run}:${job.attempt}:${job.move}`;
}
