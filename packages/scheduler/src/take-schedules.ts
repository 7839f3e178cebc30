import type { Bus, Delivery, PullEnd } from "@millrace/bus";
import { schedulerConsumer, scheduleStream } from "@millrace/protocol";
import type { Schedule, Store } from "@millrace/store";
import { refuseSchedule } from "./refuse-schedule.ts";
import { scheduleFromMessage } from "./schedule-from-message.ts";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";

/** Messages of one transaction. */
const batch = 500;
const batchBytes = 8 << 20;
const pullExpiresMs = 20_000;
/** The database is away: SCHEDULE gives a message again after this. */
const giveBackMs = 1000;

export interface TakeSchedulesOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: SchedulerLogger;
  readonly metrics: SchedulerMetrics;
  readonly streamCreatedMs: number;
  readonly signal: AbortSignal;
}

/**
 * Takes one batch of SCHEDULE into the table; a message is acked when its row is durable, and not before.
 * @returns the earliest time among them, Unix ms; undefined when nothing came
 * @throws when the database or the broker is away: the messages are given back then
 */
export async function takeSchedules(options: TakeSchedulesOptions): Promise<number | undefined> {
  const { bus, store, logger, metrics, streamCreatedMs, signal } = options;
  const messages = await pullBatch(bus, signal);
  if (messages.length === 0) return undefined;
  const schedules: Schedule[] = [];
  try {
    for (const message of messages) {
      const read = scheduleFromMessage(message, streamCreatedMs);
      if (read.ok) {
        schedules.push(read.schedule);
        continue;
      }
      await refuseSchedule(bus, message, read.refused);
      metrics.refused();
      logger.warn({ job: read.refused.id, reason: read.refused.reason }, "scheduled job refused");
    }
    await store.insertSchedules(schedules);
  } catch (error) {
    for (const message of messages) bus.nak(message.reply, giveBackMs);
    throw error;
  }
  for (const message of messages) bus.ack(message.reply);
  metrics.stored(schedules.length);
  return schedules.reduce<number | undefined>((least, { dueAtMs }) => Math.min(least ?? dueAtMs, dueAtMs), undefined);
}

/** What is there, or else the first that comes. */
async function pullBatch(bus: Bus, signal: AbortSignal): Promise<Delivery[]> {
  const messages: Delivery[] = [];
  const ended = Promise.withResolvers<PullEnd | undefined>();
  const onAbort = (): void => ended.resolve(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) return messages;
  bus.pull(
    scheduleStream,
    schedulerConsumer,
    { batch, expiresMs: pullExpiresMs, maxBytes: batchBytes, noWait: true },
    {
      onMessage: (message) => {
        if (signal.aborted) bus.nak(message.reply);
        else messages.push(message);
      },
      onEnd: ended.resolve,
    },
  );
  const end = await ended.promise;
  signal.removeEventListener("abort", onAbort);
  // What came before we were told to stop goes to another scheduler at once.
  if (end === undefined) for (const message of messages.splice(0)) bus.nak(message.reply);
  if (end !== undefined && messages.length === 0 && end.reason !== "empty" && end.reason !== "filled") {
    throw new Error(`the pull on ${scheduleStream} ended: ${end.reason} ${end.text}`);
  }
  return messages;
}
