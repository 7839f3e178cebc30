import type { HandlerContext } from "@connectrpc/connect";
import { SubmitJobRequestSchema, type SubmitJobsRequest } from "@millrace/protocol";
import { createMessageValidator } from "@millrace/rpc";
import { acceptJob } from "./accept-job.ts";
import type { ControlContext } from "./control-context.ts";
import { ownerOf } from "./owner-of.ts";
import { refusalOf } from "./refusal.ts";
import { traceparentOf } from "./traceparent-of.ts";

interface SubmitOutcomeInit {
  readonly id: string;
  readonly duplicate?: boolean;
  readonly errorCode?: string;
  readonly errorMessage?: string;
}

// The contract leaves the items to this place: what one breaks must not touch the others.
const validate = createMessageValidator(SubmitJobRequestSchema);

/** Accepts up to 1000 jobs, all in flight at once; one that is refused does not touch the others. */
export async function submitJobs(
  context: ControlContext,
  request: SubmitJobsRequest,
  call: HandlerContext,
): Promise<{ outcomes: SubmitOutcomeInit[] }> {
  const submission = { traceparent: traceparentOf(call), owner: ownerOf(call), reply: "" };
  const outcomes = await Promise.all(
    request.jobs.map(async (job): Promise<SubmitOutcomeInit> => {
      try {
        validate?.(job);
        return await acceptJob(context, job, submission);
      } catch (error) {
        const { code, message } = refusalOf(error);
        return { id: job.id, errorCode: code, errorMessage: message };
      }
    }),
  );
  return { outcomes };
}
