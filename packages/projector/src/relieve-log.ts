import type { Bus } from "@millrace/bus";
import { JobState, queueOfConsumer } from "@millrace/protocol";
import type { PlacedJob, Store } from "@millrace/store";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { publishAnew } from "./reconcile.ts";
import type { LogHold } from "./trim-logs.ts";

/** Finished bytes that a log may keep for the sake of a job at its head. */
const mostFinishedBytes = 64 << 20;
const mostFinishedShare = 0.1;
/** Of one look. */
const mostMoved = 200;
const mostDeleted = 5000;
const atOnce = 100;
/** Counting stops here: a log with so many waiting jobs is no log full of finished ones. */
const mostCounted = 200_000;

export interface RelieveOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly moveAfterMs: number;
  /** In each log: finished messages up to here were deleted singly. Moved on by the look; forgotten when a broker may have forgotten deletes. */
  readonly deletedUpTo: Map<string, number>;
}

/**
 * Keeps a job at the head of a log from holding all finished ones behind it. One that waits, as its queue is paused or unserved, is
 * published again at the end: its place version rises, its order of arrival stays. Only above one that somebody has in hand are
 * finished ones deleted singly.
 * @returns jobs that were moved, messages that were deleted
 */
export async function relieveLog(hold: LogHold, options: RelieveOptions): Promise<{ moved: number; deleted: number }> {
  const { bus, store, logger, metrics } = options;
  const { log } = hold;
  if (hold.by !== "job") return { moved: 0, deleted: 0 };
  const { messages, bytes, maxBytes } = await bus.streamState(log);
  const unfinished = await store.countUnfinished(log, mostCounted);
  const finishedBytes = messages === 0 ? 0 : (bytes * Math.max(0, messages - unfinished)) / messages;
  const bound = maxBytes > 0 ? Math.min(mostFinishedBytes, maxBytes * mostFinishedShare) : mostFinishedBytes;
  if (finishedBytes <= bound || unfinished >= mostCounted) return { moved: 0, deleted: 0 };

  const head = await store.listUnfinished(log, { above: -1, limit: mostMoved });
  const delivered = await deliveredSeqs(bus, log);
  const before = Date.now() - options.moveAfterMs;
  // It has only come: it may go by itself.
  if (head[0] === undefined || head[0].updatedAtMs >= before) return { moved: 0, deleted: 0 };
  const waits = (job: PlacedJob): boolean =>
    job.state === JobState.QUEUED && job.updatedAtMs < before && job.seq > (delivered.get(job.queue) ?? 0);
  let moved = 0;
  for (const job of head) {
    // Up to the first one that somebody has, or that has only come: what lies before it can go.
    if (!waits(job)) break;
    if (!(await publishAnew(options, job, undefined))) break;
    metrics.moved(log);
    moved++;
  }
  if (moved > 0) {
    logger.info(
      { log, moved, finishedBytes: Math.round(finishedBytes) },
      "waiting jobs were moved to the end of their log",
    );
    return { moved, deleted: 0 };
  }
  const deleted = await deleteFinished(hold, head, options);
  if (deleted > 0)
    logger.info({ log, deleted, head: head[0]?.id }, "finished jobs behind a long one were deleted from their log");
  return { moved, deleted };
}

async function deliveredSeqs(bus: Bus, log: string): Promise<Map<string, number>> {
  const delivered = new Map<string, number>();
  for (const { name, deliveredSeq } of await bus.listConsumers(log)) {
    const queue = queueOfConsumer(name);
    if (queue !== undefined) delivered.set(queue, deliveredSeq);
  }
  return delivered;
}

/** Between the places of the first unfinished jobs, and below what else keeps the log. */
async function deleteFinished(
  { log, floorBesideJobs }: LogHold,
  head: readonly PlacedJob[],
  { bus, deletedUpTo }: RelieveOptions,
): Promise<number> {
  const [first] = head;
  const last = head.at(-1);
  if (first === undefined || last === undefined) return 0;
  const places = new Set(head.map(({ seq }) => seq));
  const end = Math.min(floorBesideJobs, head.length < mostMoved ? Infinity : last.seq);
  const { upkeep } = bus;
  let deleted = 0;
  let seq = Math.max(first.seq, deletedUpTo.get(log) ?? 0) + 1;
  while (seq < end && deleted < mostDeleted) {
    const part: number[] = [];
    for (; seq < end && part.length < atOnce; seq++) if (!places.has(seq)) part.push(seq);
    await Promise.all(part.map((one) => upkeep.deleteMessage(log, one)));
    deleted += part.length;
  }
  deletedUpTo.set(log, seq - 1);
  return deleted;
}
