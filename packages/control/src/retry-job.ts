import type { HandlerContext } from "@connectrpc/connect";
import {
  defaultMaxAttempts,
  headerNames,
  isReplayable,
  jobSubject,
  MillraceError,
  priorityName,
  priorityOrNormal,
  stateName,
  type RetryJobRequest,
} from "@millrace/protocol";
import type { StoredJob } from "@millrace/store";
import type { ControlContext } from "./control-context.ts";
import { findStoredJob, noSuchJob } from "./find-job.ts";
import { ownerOf } from "./owner-of.ts";
import { withinQuota } from "./within-quota.ts";

/** Runs an ended job again, with as many attempts as it had at first. It counts against the quota of its owner, when that is who asks. */
export async function retryJob(
  context: ControlContext,
  request: RetryJobRequest,
  call: HandlerContext,
): Promise<{ id: string; attempt: number }> {
  context.pressure.admit();
  const { id } = request;
  const stored = await findStoredJob(context, id);
  const job = stored?.job ?? context.recent.get(id);
  if (job === undefined) throw noSuchJob(id);
  if (stored === undefined || !isReplayable(job.state)) {
    throw new MillraceError(
      "aborted",
      `job ${id} is ${stateName(job.state)}: only a dead, cancelled or expired one runs again`,
    );
  }
  if (stored.rawHeaders !== undefined) {
    throw new MillraceError("failed_precondition", `job ${id} has headers that cannot be read: submit it anew`);
  }
  const attempt = job.attempt + 1;
  const owner = ownerOf(call) === job.owner ? job.owner : "";
  await withinQuota(context, owner, stored.payload.length, async () => {
    if (job.uniqueKey !== "") await context.uniqueKeys.acquire(job.uniqueKey, id);
    // Before the job is out: a worker would cancel it at once.
    await context.cancelMarks.remove(id);
    const subject = jobSubject(priorityName(priorityOrNormal(job.priority)), job.queue, job.type, id);
    return context.bus.publishDurable(subject, stored.payload, replayHeaders(stored, attempt));
  });
  context.events.jobReplayed(id, attempt);
  return { id, attempt };
}

/** Of the submission's headers, what still holds: nobody waits any more, and the times are over. */
const onceOnly: ReadonlySet<string> = new Set([
  headerNames.attempt,
  headerNames.maxAttempts,
  headerNames.runAt,
  headerNames.deadline,
  headerNames.replyTo,
  headerNames.messageId,
  headerNames.stream,
  headerNames.sequence,
]);

function replayHeaders(stored: StoredJob, attempt: number): [name: string, value: string][] {
  const kept = Object.entries(stored.headers).filter(([name]) => !onceOnly.has(name) && !name.startsWith("Nats-"));
  const first = Number(stored.headers[headerNames.maxAttempts]) || defaultMaxAttempts;
  return [
    ...kept,
    [headerNames.attempt, String(attempt)],
    [headerNames.maxAttempts, String(attempt - 1 + first)],
    [headerNames.messageId, `${stored.job.id}:${attempt}`],
  ];
}
