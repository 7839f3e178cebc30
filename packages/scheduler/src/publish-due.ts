import type { PipelinedPublisher, PublishAck } from "@millrace/bus";
import type { DueJob, ReleasedJob, Store } from "@millrace/store";
import { releaseMessage } from "./release-message.ts";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";

/** Rows of one claim. */
const claimLimit = 500;
/**
 * How long a claim holds: longer than a publish may take, so that two schedulers do not publish one job, and within
 * the broker's duplicate window (20 s), so that a crash between publish and mark is a duplicate that nobody sees.
 */
const leaseMs = 15_000;
export const deliveryTimeoutMs = 10_000;

export interface PublishDueOptions {
  readonly publisher: PipelinedPublisher;
  readonly store: Store;
  readonly logger: SchedulerLogger;
  readonly metrics: SchedulerMetrics;
}

export interface PublishedDue {
  readonly claimed: number;
  /** Of those; they are due again when the claim ends. */
  readonly failed: number;
}

/** Publishes jobs whose time has come to their logs, and marks those that a log has stored. */
export async function publishDue({ publisher, store, logger, metrics }: PublishDueOptions): Promise<PublishedDue> {
  const due = await store.claimDueJobs({ limit: claimLimit, leaseMs });
  const [first] = due;
  if (first === undefined) return { claimed: 0, failed: 0 };
  const results = await Promise.allSettled(due.map((job) => publishJob(publisher, job)));
  const released = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failed = due.length - released.length;
  const failure = results.find((result) => result.status === "rejected");
  if (failure !== undefined) {
    logger.warn({ err: failure.reason, count: failed }, "due jobs not published: they are tried again");
  }
  await store.markReleased(released);
  if (released.length > 0) metrics.published(released.length, Math.max(0, first.lateMs) / 1000);
  return { claimed: due.length, failed };
}

async function publishJob(publisher: PipelinedPublisher, job: DueJob): Promise<ReleasedJob> {
  const { message, placeVersion } = releaseMessage(job);
  const ack: PublishAck = await publisher.publish(message);
  // Of one that was stored before, the ack names the place as well.
  return { id: job.id, version: job.version, place: { stream: ack.stream, seq: ack.seq, version: placeVersion } };
}
