import {
  commandCancelSubject,
  EventKind,
  isTerminal,
  JobState,
  MillraceError,
  runOfVersion,
  stateName,
  eventsStream,
  type CancelJobRequest,
  type Job,
} from "@millrace/protocol";
import type { StoredJob } from "@millrace/store";
import { askRows } from "./ask-rows.ts";
import { cancelEvent } from "./cancel-event.ts";
import { cancelledMessageId } from "./cancel-sweep.ts";
import type { ControlContext } from "./control-context.ts";
import { findStoredJob, noSuchJob } from "./find-job.ts";
import { lastPlaces } from "./log-places.ts";
import { publishEvents } from "./publish-events.ts";

interface Target {
  readonly job: Job;
  readonly run: number;
}

/** The rows may take so long to tell whether there is a job, and whose end counts. */
const rowsWithinMs = 2000;
const encoder = new TextEncoder();

/**
 * Cancels a job. One that no worker has is cancelled with this; one that a worker has is aborted by the worker, which says when it has
 * ended. Each step may be done again, by whoever comes next: the mark bars the run, the event ends it, and of two ends the
 * first counts. No message is removed.
 * @throws MillraceError aborted (it has ended), not_found, unavailable (whether there is such a job, or which of two ends came first,
 * cannot be told; it is marked)
 */
export async function cancelJob(context: ControlContext, request: CancelJobRequest): Promise<{ state: JobState }> {
  const { id, reason } = request;
  const { job, run } = await findTarget(context, id, reason);
  if (isTerminal(job.state)) throw hasEnded(id, job.state);
  await mark(context, id, run, reason);
  const held = (await context.workers.holds([id])).has(id);
  if (held) {
    const event = cancelEvent(job, run, EventKind.CANCEL_REQUESTED, reason);
    await publishEvents(context, [event], `${id}:${run}:cancel-requested`);
    context.cancelSweep.follow(id);
    context.events.jobCancelled(id, false);
    return { state: JobState.RUNNING };
  }
  const event = cancelEvent(job, run, EventKind.CANCELLED, reason);
  const { seq } = await publishEvents(context, [event], cancelledMessageId(id, run));
  const end = await endOf(context, id, run, seq);
  if (job.uniqueKey !== "") await context.uniqueKeys.release(job.uniqueKey, { id, run });
  // A worker had told of the end a moment before.
  if (end !== JobState.CANCELLED) throw hasEnded(id, end);
  context.events.jobCancelled(id, true);
  return { state: JobState.CANCELLED };
}

/** The mark first: whatever worker meets the job from here on does not run it. */
async function mark(context: ControlContext, id: string, run: number, reason: string): Promise<void> {
  await context.cancelMarks.put(id, run, reason);
  context.bus.publish(commandCancelSubject, encoder.encode(JSON.stringify({ id, run })));
}

async function findTarget(context: ControlContext, id: string, reason: string): Promise<Target> {
  const known = targetOf(await storedJob(context, id)) ?? recentJob(context, id);
  if (known !== undefined) return known;
  const { bus } = context;
  const rows = await askRows(bus, { ids: [id], after: await lastPlaces(bus), waitMs: rowsWithinMs });
  if (rows !== undefined) {
    const target = rows.length === 0 ? undefined : targetOf(await findStoredJob(context, id));
    if (target === undefined) throw noSuchJob(id);
    return target;
  }
  // A log knows ids that are in its subjects; of others nothing can be said before the rows are there.
  const logged = await context.logSearch.find(id);
  if (logged !== undefined) return logged;
  await mark(context, id, 1, reason);
  throw new MillraceError(
    "unavailable",
    `whether there is a job ${id} cannot be told: the read model is behind, or away. If there is, it does not run`,
    { retryAfterMs: 1000 },
  );
}

/** Undefined also while the database is away. */
async function storedJob(context: ControlContext, id: string): Promise<StoredJob | undefined> {
  try {
    return await findStoredJob(context, id);
  } catch (error) {
    if (error instanceof MillraceError && error.code === "unavailable") return undefined;
    throw error;
  }
}

function targetOf(stored: StoredJob | undefined): Target | undefined {
  return stored === undefined ? undefined : { job: stored.job, run: stored.run };
}

function recentJob({ recent }: ControlContext, id: string): Target | undefined {
  const job = recent.get(id);
  return job === undefined ? undefined : { job, run: job.run };
}

/** Which end of the run counts: as the rows have it once they have read ours, else as EVENTS has it. */
async function endOf(context: ControlContext, id: string, run: number, seq: number): Promise<JobState> {
  const rows = await askRows(context.bus, { ids: [id], after: { [eventsStream]: seq }, waitMs: rowsWithinMs });
  const row = rows?.find((standing) => standing.id === id);
  if (row !== undefined && runOfVersion(row.version) === run && isTerminal(row.state)) return row.state;
  const end = await context.endsInEvents.find({ id, run }, seq);
  if (end !== undefined) return end;
  throw new MillraceError(
    "unavailable",
    `job ${id} is cancelled, unless it had ended before: which of the two cannot be told yet, as the read model is behind, or away. It does not run again`,
    { retryAfterMs: 1000 },
  );
}

function hasEnded(id: string, state: JobState): MillraceError {
  return new MillraceError("aborted", `job ${id} has ended: ${stateName(state)}`);
}
