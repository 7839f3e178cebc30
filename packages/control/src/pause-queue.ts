import type { PauseQueueRequest } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Workers hear of it by their watch of the bucket, those that start later too. */
export async function pauseQueue(context: ControlContext, request: PauseQueueRequest): Promise<Record<string, never>> {
  await context.queueSettings.change(request.queue, { paused: true });
  context.events.queuePaused(request.queue);
  return {};
}
