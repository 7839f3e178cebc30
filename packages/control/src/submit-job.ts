import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, type Job, type JobResult, type SubmitJobRequest } from "@millrace/protocol";
import { acceptJob } from "./accept-job.ts";
import type { ControlContext } from "./control-context.ts";
import { findJob } from "./find-job.ts";
import { resultOfJob } from "./job-result.ts";
import { ownerOf } from "./owner-of.ts";
import { traceparentOf } from "./traceparent-of.ts";
import { followJob } from "./follow-job.ts";

interface SubmitJobAnswer {
  readonly id: string;
  readonly duplicate: boolean;
  readonly result?: JobResult;
}

/** Accepts one job; with `wait_ms` the worker's answer comes back with it. */
export async function submitJob(
  context: ControlContext,
  request: SubmitJobRequest,
  call: HandlerContext,
): Promise<SubmitJobAnswer> {
  const submission = { traceparent: traceparentOf(call), owner: ownerOf(call) };
  if (request.waitMs === 0) return acceptJob(context, request, { ...submission, reply: "" });
  using wait = context.inbox.open(submission.owner);
  const untilMs = performance.now() + request.waitMs;
  const { id, duplicate } = await acceptJob(context, request, { ...submission, reply: wait.subject });
  const leftMs = Math.max(0, untilMs - performance.now());
  // The worker answers the first submitter of an id only; the others look on.
  const result = duplicate
    ? await resultByEvents(context, request, id, leftMs, call.signal)
    : ((await wait.within(leftMs, call.signal)) ?? (await resultByRow(context, request, id)));
  return { id, duplicate, ...(result === undefined ? {} : { result }) };
}

/** A worker's answer is sent once and may be lost; the row is not. */
async function resultByRow(
  context: ControlContext,
  request: SubmitJobRequest,
  id: string,
): Promise<JobResult | undefined> {
  try {
    const job = await findJob(context, id);
    return job !== undefined && isSame(job, request) ? resultOfJob(job) : undefined;
  } catch (error) {
    // The job is accepted: that the database is away now is no reason to refuse it.
    context.logger.warn({ id, err: error }, "could not read the row of a job that was waited for");
    return undefined;
  }
}

async function resultByEvents(
  context: ControlContext,
  request: SubmitJobRequest,
  id: string,
  ms: number,
  callSignal: AbortSignal,
): Promise<JobResult | undefined> {
  const signal = AbortSignal.any([callSignal, AbortSignal.timeout(Math.ceil(ms))]);
  try {
    for await (const update of followJob(context, id, undefined, signal)) {
      if ("job" in update && !isSame(update.job, request)) return undefined;
    }
  } catch (error) {
    // A log knows it, by another process, and no row yet: it is accepted all the same.
    const isUnknown = error instanceof MillraceError && error.code === "not_found";
    if (!signal.aborted && !isUnknown) throw error;
  }
  return resultByRow(context, request, id);
}

/** Another queue or type may have a job of this id: who submits here need not be allowed to see it. */
function isSame({ queue, type }: Job, request: SubmitJobRequest): boolean {
  return type === request.type && queue === (request.queue || "default");
}
