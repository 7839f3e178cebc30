import { create } from "@bufbuild/protobuf";
import { QueueStatsSchema, type QueueStats } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Queues that have or had jobs, and those that are paused before their first one. */
export async function listQueues(context: ControlContext): Promise<{ queues: QueueStats[] }> {
  const queues = await context.store.listQueues();
  const known = new Set(queues.map((stats) => stats.queue));
  for (const stats of queues) stats.paused = context.queueSettings.isPaused(stats.queue);
  for (const queue of context.queueSettings.queues()) {
    if (!known.has(queue) && context.queueSettings.isPaused(queue)) {
      queues.push(create(QueueStatsSchema, { queue, paused: true }));
    }
  }
  return { queues: queues.toSorted((a, b) => (a.queue < b.queue ? -1 : 1)) };
}
