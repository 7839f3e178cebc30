import type { SetQueueLimitsRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Every control hears of it by its watch of the bucket. */
export async function setQueueLimits(
  context: ControlContext,
  { queue, maxWaitingJobs }: SetQueueLimitsRequest,
): Promise<Record<string, never>> {
  await context.queueSettings.change(queue, { maxWaitingJobs: Number(maxWaitingJobs) });
  context.events.queueLimited(queue, Number(maxWaitingJobs));
  return {};
}
