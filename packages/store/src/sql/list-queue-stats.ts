import { create } from "@bufbuild/protobuf";
import {
  JobState,
  PriorityCountSchema,
  QueueStatsSchema,
  stateName,
  type Priority,
  type QueueStats,
} from "@millrace/protocol";
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Queues in one answer; more are left out, by name. */
const maxQueues = 10_000;
/** States and priorities of one queue are at most 8 times 5 rows. */
const rowsPerQueue = 40;

/** Counts by state and, of what waits, by priority; `paused` is left to the caller, who knows the settings. */
export async function listQueueStats(db: Kysely<Schema>, queue?: string): Promise<QueueStats[]> {
  let query = db.selectFrom("queue_stats").selectAll().where("count", ">", 0);
  if (queue !== undefined) query = query.where("queue", "=", queue);
  const rows = await query
    .orderBy("queue")
    .orderBy("priority")
    .limit(maxQueues * rowsPerQueue)
    .execute();
  const queues = new Map<string, QueueStats>();
  for (const row of rows) {
    let stats = queues.get(row.queue);
    if (stats === undefined) {
      stats = create(QueueStatsSchema, { queue: row.queue });
      queues.set(row.queue, stats);
    }
    addCount(stats, row.state, row.priority, BigInt(row.count));
  }
  return [...queues.values()].slice(0, maxQueues);
}

type CountField = "scheduled" | "queued" | "running" | "retrying" | "succeeded" | "dead" | "cancelled" | "expired";

function addCount(stats: QueueStats, state: JobState, priority: Priority, count: bigint): void {
  const field = stateName(state) as CountField;
  if (!(field in stats)) return;
  stats[field] += count;
  if (state !== JobState.QUEUED) return;
  stats.waiting.push(create(PriorityCountSchema, { priority, count }));
}
