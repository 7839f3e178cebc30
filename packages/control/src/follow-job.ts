import { eventsStream, isTerminal, JobState, jobVersion, stateAfter, supersedes, type Job } from "@millrace/protocol";
import type { JobStanding } from "@millrace/protocol";
import { formatPosition, parsePosition, type EventPosition } from "@millrace/store";
import type { ControlContext } from "./control-context.ts";
import { lastIndex } from "./event-source.ts";
import { findStoredJob, noSuchJob } from "./find-job.ts";
import type { JobEventAt } from "./job-event-at.ts";
import { positionOf } from "./job-event-at.ts";

export type JobUpdate =
  | { readonly position: string; readonly job: Job }
  | { readonly position: string; readonly event: JobEventAt };

/**
 * A job's row, then each of its events, up to the one that ends it; without the row when resumed. Events that say nothing
 * new (a crash runs an attempt twice, an earlier run is heard of late) are left out.
 */
export async function* followJob(
  context: ControlContext,
  id: string,
  resumeAfter: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<JobUpdate> {
  const { eventSource } = context;
  const resumed = resumeAfter === undefined ? undefined : await eventSource.resumePosition(resumeAfter);
  const present = await eventSource.present();
  // The cursor before the row: everything up to it is in the row.
  const projected = resumed ?? (await projectedPosition(context, present));
  const stored = await findStoredJob(context, id);
  const job = stored?.job ?? context.recent.get(id);
  if (job === undefined) throw noSuchJob(id);
  const rowPosition = parsePosition(job.position);
  let known: JobStanding = { version: -1, state: JobState.UNSPECIFIED };
  if (resumed === undefined) {
    known = { version: stored?.version ?? versionOf(job), state: job.state };
    // A row that no event has touched yet has the place before the first: then the cursor is what it is built up to.
    yield { position: formatPosition(later(projected, rowPosition)), job };
    if (isTerminal(job.state)) return;
  } else if (isTerminal(job.state) && rowPosition !== undefined && !isAfter(rowPosition, resumed)) {
    // Its end was seen already.
    return;
  }
  // Somebody may have used the id again, for a job of another queue or type.
  const { queue, type } = job;
  const wants = (event: JobEventAt): boolean => event.jobId === id && event.queue === queue && event.type === type;
  for await (const event of eventSource.follow({ after: projected, strict: resumed !== undefined, wants, signal })) {
    const state = stateAfter(event.kind);
    if (state !== undefined) {
      const next = { version: jobVersion({ ...event, state }), state };
      if (!supersedes(next, known)) continue;
      known = next;
    }
    yield { position: positionOf(event), event };
    if (state !== undefined && isTerminal(state)) return;
  }
}

/** Of a job that has just been accepted. */
function versionOf({ run, attempt, state }: Job): number {
  return jobVersion({ run, attempt, move: 0, state });
}

/** Up to where the read model has taken events in. */
async function projectedPosition(context: ControlContext, present: EventPosition): Promise<EventPosition> {
  const cursors = await context.store.readCursors(context.config.projectionCursor);
  const cursor = cursors.get(eventsStream);
  // None yet: nothing has been projected, and the row can only be one that this process remembers.
  if (cursor === undefined) return { seq: 0, index: lastIndex };
  // The cursor may be of a stream that was made anew: nothing lies beyond the present.
  return { seq: Math.min(cursor.seq, present.seq), index: lastIndex };
}

function later(a: EventPosition, b: EventPosition | undefined): EventPosition {
  return b !== undefined && isAfter(b, a) ? b : a;
}

function isAfter(a: EventPosition, b: EventPosition): boolean {
  return a.seq > b.seq || (a.seq === b.seq && a.index > b.index);
}
