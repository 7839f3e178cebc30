import type { HandlerContext } from "@connectrpc/connect";
import {
  headerNames,
  isReplayable,
  jobStream,
  maxRun,
  MillraceError,
  priorityName,
  priorityOrNormal,
  runOfVersion,
  sharedJobSubject,
  stateName,
  type RetryJobRequest,
} from "@millrace/protocol";
import type { StoredJob } from "@millrace/store";
import { askRows } from "./ask-rows.ts";
import type { ControlContext } from "./control-context.ts";
import { findStoredJob, noSuchJob } from "./find-job.ts";
import { ownerOf } from "./owner-of.ts";
import { withinBound } from "./within-bound.ts";

interface Retried {
  readonly id: string;
  readonly attempt: number;
  readonly run: number;
  readonly visible: boolean;
}

const firstAttempt = 1;
const visibleWithinMs = 5000;

/**
 * Runs an ended job again, as its next run, with as many attempts as it had at first. It counts against the quota of its owner, when
 * that is who asks. A mark that cancelled the run before does not bar this one.
 */
export async function retryJob(
  context: ControlContext,
  request: RetryJobRequest,
  call: HandlerContext,
): Promise<Retried> {
  const { id } = request;
  const { bus, pressure, quotas, uniqueKeys } = context;
  const stored = await findStoredJob(context, id);
  const job = stored?.job ?? context.recent.get(id);
  if (job === undefined) throw noSuchJob(id);
  if (stored === undefined || !isReplayable(job.state)) {
    throw new MillraceError(
      "aborted",
      `job ${id} is ${stateName(job.state)}: only a dead, cancelled or expired one runs again`,
    );
  }
  if (stored.isStub) {
    const reason = `job ${id} has ended, and what was submitted is not in the read model yet: ask again`;
    throw new MillraceError("unavailable", reason, { retryAfterMs: 1000 });
  }
  if (stored.rawHeaders !== undefined) {
    throw new MillraceError("failed_precondition", `job ${id} has headers that cannot be read: submit it anew`);
  }
  const run = stored.run + 1;
  if (run > maxRun) throw new MillraceError("failed_precondition", `job ${id} has run ${maxRun} times: submit it anew`);
  const priority = priorityName(priorityOrNormal(job.priority));
  const log = jobStream(priority);
  pressure.admit(log);
  const owner = ownerOf(call) === job.owner ? job.owner : "";
  const { place } = await withinBound(quotas, owner, stored.payload.length, async () => {
    if (job.uniqueKey !== "") await uniqueKeys.acquire(job.uniqueKey, { id, run }, log);
    const subject = sharedJobSubject(priority, job.queue, job.type, job.owner);
    const { seq } = await bus.publishDurable(subject, stored.payload, replayHeaders(stored, run));
    return { place: { stream: log, seq } };
  });
  context.events.jobReplayed(id, run);
  const rows = await askRows(bus, { ids: [id], after: { [log]: place.seq }, waitMs: visibleWithinMs });
  const visible = rows?.some((row) => row.id === id && runOfVersion(row.version) >= run) ?? false;
  return { id, attempt: firstAttempt, run, visible };
}

/** Of the submission's headers, what still holds: nobody waits any more, and the times are over. */
const onceOnly: ReadonlySet<string> = new Set([
  headerNames.id,
  headerNames.run,
  headerNames.attempt,
  headerNames.move,
  headerNames.runAt,
  headerNames.deadline,
  headerNames.replyTo,
]);

function replayHeaders({ headers, job }: StoredJob, run: number): [name: string, value: string][] {
  const kept = Object.entries(headers).filter(([name]) => !onceOnly.has(name) && !name.startsWith("Nats-"));
  return [
    ...kept,
    [headerNames.id, job.id],
    [headerNames.run, String(run)],
    // Of two callers who ask for the same run, the second finds it stored.
    [headerNames.messageId, `${job.id}:${run}:${firstAttempt}:0`],
  ];
}
