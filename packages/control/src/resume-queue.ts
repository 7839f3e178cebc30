import type { ResumeQueueRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

export async function resumeQueue(
  context: ControlContext,
  request: ResumeQueueRequest,
): Promise<Record<string, never>> {
  await context.queueSettings.change(request.queue, { paused: false });
  context.events.queueResumed(request.queue);
  return {};
}
