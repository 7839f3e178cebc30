import { create } from "@bufbuild/protobuf";
import { QueueStatsSchema, type GetQueueStatsRequest, type QueueStats } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Counts of one queue. A queue exists by being named, so one without jobs has zeros. */
export async function getQueueStats(
  context: ControlContext,
  request: GetQueueStatsRequest,
): Promise<{ stats: QueueStats }> {
  const { queue } = request;
  const stats = (await context.store.getQueueStats(queue)) ?? create(QueueStatsSchema, { queue });
  stats.paused = context.queueSettings.isPaused(queue);
  stats.maxWaitingJobs = BigInt(context.queueSettings.maxWaitingJobs(queue));
  stats.maxWaitingBytes = BigInt(context.queueSettings.maxWaitingBytes(queue));
  return { stats };
}
