import type { HandlerContext } from "@connectrpc/connect";
import type { SubmitJobsRequest } from "@millrace/protocol";
import { acceptJob } from "./accept-job.ts";
import type { ControlContext } from "./control-context.ts";
import { refusalOf } from "./refusal.ts";
import { traceparentOf } from "./traceparent-of.ts";

interface SubmitOutcomeInit {
  readonly id: string;
  readonly duplicate?: boolean;
  readonly errorCode?: string;
  readonly errorMessage?: string;
}

/** Accepts up to 1000 jobs, all in flight at once; one that is refused does not touch the others. */
export async function submitJobs(
  context: ControlContext,
  request: SubmitJobsRequest,
  call: HandlerContext,
): Promise<{ outcomes: SubmitOutcomeInit[] }> {
  const traceparent = traceparentOf(call);
  const outcomes = await Promise.all(
    request.jobs.map(async (job): Promise<SubmitOutcomeInit> => {
      try {
        return await acceptJob(context, job, traceparent, "");
      } catch (error) {
        const { code, message } = refusalOf(error);
        return { id: job.id, errorCode: code, errorMessage: message };
      }
    }),
  );
  return { outcomes };
}
