import type { OutgoingMessage } from "@millrace/bus";
import {
  attemptOfVersion,
  formatJobOptions,
  headerNames,
  jobVersion,
  JobState,
  moveOfVersion,
  priorityName,
  priorityOrNormal,
  runOfVersion,
  sharedJobSubject,
} from "@millrace/protocol";
import type { DueJob } from "@millrace/store";

export interface ReleaseMessage {
  readonly message: OutgoingMessage;
  /** Of the place that it gets: the job's version once it is queued there. */
  readonly placeVersion: number;
}

// Said anew, by what the row knows.
const ours: ReadonlySet<string> = new Set(
  [
    headerNames.id,
    headerNames.run,
    headerNames.attempt,
    headerNames.move,
    headerNames.maxAttempts,
    // The time was kept here and is over: a worker must not send the job back.
    headerNames.runAt,
    headerNames.replyTo,
    headerNames.traceparent,
  ].map((name) => name.toLowerCase()),
);

/** The message by which a waiting job goes on to its log: as its publisher sent it, at the run, attempt and move of its row. */
export function releaseMessage(job: DueJob): ReleaseMessage {
  const { id, queue, type, owner, version, payload } = job;
  const run = runOfVersion(version);
  const attempt = attemptOfVersion(version);
  const move = moveOfVersion(version);
  const kept = Object.entries(job.headers).filter(([name]) => {
    const lower = name.toLowerCase();
    // Of the broker's own, an expectation or a time to live would be taken for ours.
    return !lower.startsWith("nats-") && !ours.has(lower);
  });
  const headers: [string, string][] = [
    [headerNames.messageId, `${id}:${run}:${attempt}:${move}`],
    [headerNames.id, id],
    ...kept,
    ...formatJobOptions({
      run,
      attempt,
      move,
      ...(job.maxAttempts > 0 ? { maxAttempts: job.maxAttempts } : {}),
      replyTo: job.replyTo,
      traceparent: job.traceparent,
    }),
  ];
  const subject = sharedJobSubject(priorityName(priorityOrNormal(job.priority)), queue, type, owner);
  return {
    message: { subject, data: payload, headers },
    placeVersion: jobVersion({ run, attempt, move, state: JobState.QUEUED }),
  };
}
