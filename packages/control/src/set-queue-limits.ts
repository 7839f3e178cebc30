import type { SetQueueLimitsRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Every control hears of it by its watch of the bucket. */
export async function setQueueLimits(
  context: ControlContext,
  { queue, ...limits }: SetQueueLimitsRequest,
): Promise<Record<string, never>> {
  const maxWaitingJobs = Number(limits.maxWaitingJobs);
  const maxWaitingBytes = Number(limits.maxWaitingBytes);
  await context.queueSettings.change(queue, { maxWaitingJobs, maxWaitingBytes });
  context.events.queueLimited(queue, { maxWaitingJobs, maxWaitingBytes });
  return {};
}
