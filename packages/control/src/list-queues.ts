import { create } from "@bufbuild/protobuf";
import { QueueStatsSchema, type QueueStats } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Queues that have or had jobs, and those with settings before their first one. */
export async function listQueues(context: ControlContext): Promise<{ queues: QueueStats[] }> {
  const queues = await context.store.listQueues();
  const known = new Set(queues.map((stats) => stats.queue));
  const { queueSettings } = context;
  for (const queue of queueSettings.queues()) {
    const isBound = queueSettings.maxWaitingJobs(queue) > 0 || queueSettings.maxWaitingBytes(queue) > 0;
    const isSet = queueSettings.isPaused(queue) || isBound;
    if (isSet && !known.has(queue)) queues.push(create(QueueStatsSchema, { queue }));
  }
  for (const stats of queues) {
    stats.paused = queueSettings.isPaused(stats.queue);
    stats.maxWaitingJobs = BigInt(queueSettings.maxWaitingJobs(stats.queue));
    stats.maxWaitingBytes = BigInt(queueSettings.maxWaitingBytes(stats.queue));
  }
  return { queues: queues.toSorted((a, b) => (a.queue < b.queue ? -1 : 1)) };
}
