import type { HandlerContext } from "@connectrpc/connect";
import type { Job, JobEventView, WatchJobRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { followJob } from "./follow-job.ts";
import { viewOf } from "./job-event-at.ts";

interface WatchJobUpdate {
  readonly position: string;
  readonly update:
    | { readonly case: "job"; readonly value: Job }
    | { readonly case: "event"; readonly value: JobEventView };
}

/** Follows one job until it has ended. */
export async function* watchJob(
  context: ControlContext,
  request: WatchJobRequest,
  call: HandlerContext,
): AsyncGenerator<WatchJobUpdate> {
  const resumeAfter = request.resumeAfter === "" ? undefined : request.resumeAfter;
  for await (const update of followJob(context, request.id, resumeAfter, call.signal)) {
    yield {
      position: update.position,
      update: "job" in update ? { case: "job", value: update.job } : { case: "event", value: viewOf(update.event) },
    };
  }
}
