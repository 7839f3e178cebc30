import type { HandlerContext } from "@connectrpc/connect";
import {
  bookmarksHeader,
  EventKind,
  eventName,
  MillraceError,
  type JobEventView,
  type WatchJobsRequest,
} from "@millrace/protocol";
import { formatPosition } from "@millrace/store";
import type { ControlContext } from "./control-context.ts";
import { positionOf, viewOf, type JobEventAt } from "./job-event-at.ts";
import { withBookmarks } from "./with-bookmarks.ts";

/** Follows the events of all jobs that match, from now or from a place in the past. */
export async function* watchJobs(
  context: ControlContext,
  request: WatchJobsRequest,
  call: HandlerContext,
): AsyncGenerator<{ position: string; event?: JobEventView }> {
  const { queue, type, resumeAfter, correlationId, owner } = request;
  const kinds = kindsOf(request.kinds);
  const resumed = resumeAfter !== "";
  const after = resumed ? await context.eventSource.resumePosition(resumeAfter) : await context.eventSource.present();
  let seen = after;
  const wants = (event: JobEventAt): boolean => {
    seen = event.position;
    return (
      (queue === "" || event.queue === queue) &&
      (type === "" || event.type === type) &&
      (owner === "" || event.owner === owner) &&
      (correlationId === "" || event.correlationId === correlationId) &&
      (kinds.size === 0 || kinds.has(event.kind))
    );
  };
  async function* updates(): AsyncGenerator<{ position: string; event: JobEventView }> {
    for await (const event of context.eventSource.follow({ after, strict: resumed, wants, signal: call.signal })) {
      yield { position: positionOf(event), event: viewOf(event) };
    }
  }
  if (call.requestHeader.get(bookmarksHeader) === null) yield* updates();
  else {
    yield* withBookmarks(
      updates(),
      () => formatPosition(seen),
      (position) => ({ position }),
    );
  }
}

const knownKinds: readonly EventKind[] = [
  EventKind.SUBMITTED,
  EventKind.SCHEDULED,
  EventKind.STARTED,
  EventKind.SUCCEEDED,
  EventKind.RETRIED,
  EventKind.DEAD,
  EventKind.CANCELLED,
  EventKind.EXPIRED,
  EventKind.PARKED,
  EventKind.CANCEL_REQUESTED,
];

function kindsOf(names: readonly string[]): ReadonlySet<EventKind> {
  const known = new Map(knownKinds.map((kind) => [eventName(kind), kind]));
  const kinds = new Set<EventKind>();
  for (const [index, name] of names.entries()) {
    const kind = known.get(name);
    if (kind === undefined) {
      const reason = `must be one of ${[...known.keys()].join(", ")}`;
      throw new MillraceError("invalid_argument", `kinds[${index}]: ${reason}`, {
        details: [{ field: `kinds[${index}]`, reason }],
      });
    }
    kinds.add(kind);
  }
  return kinds;
}
