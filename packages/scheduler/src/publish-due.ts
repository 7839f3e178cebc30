import type { PipelinedPublisher } from "@millrace/bus";
import { headerNames } from "@millrace/protocol";
import type { Schedule, Store } from "@millrace/store";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";

/** Rows of one claim. */
export const claimLimit = 500;
/**
 * How long a claim holds: longer than a publish may take, so that two schedulers do not publish one job, and within
 * the broker's duplicate window (20 s), so that a crash between publish and delete is a duplicate that nobody sees.
 */
const leaseMs = 15_000;
export const deliveryTimeoutMs = 10_000;

export interface PublishDueOptions {
  readonly publisher: PipelinedPublisher;
  readonly store: Store;
  readonly logger: SchedulerLogger;
  readonly metrics: SchedulerMetrics;
}

/**
 * Publishes jobs whose time has come, each under `<id>:<attempt>`, and forgets those that their stream has stored. One
 * that it has not is due again when the claim ends.
 * @returns how many were claimed
 */
export async function publishDue({ publisher, store, logger, metrics }: PublishDueOptions): Promise<number> {
  const due = await store.claimDueSchedules({ limit: claimLimit, leaseMs });
  const [first] = due;
  if (first === undefined) return 0;
  const results = await Promise.allSettled(due.map((schedule) => publishSchedule(publisher, schedule)));
  const stored = due.filter((_, index) => results[index]?.status === "fulfilled");
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) {
    logger.warn(
      { err: failed.reason, count: due.length - stored.length },
      "due jobs not published: they are tried again",
    );
  }
  await store.deleteSchedules(stored);
  metrics.published(stored.length, Math.max(0, Date.now() - first.dueAtMs) / 1000);
  return due.length;
}

async function publishSchedule(publisher: PipelinedPublisher, schedule: Schedule): Promise<void> {
  const { id, attempt, subject, payload, headers } = schedule;
  const list: [string, string][] = [[headerNames.messageId, `${id}:${attempt}`]];
  for (const [name, values] of Object.entries(headers)) for (const value of values) list.push([name, value]);
  await publisher.publish({ subject, data: payload, headers: list });
}
