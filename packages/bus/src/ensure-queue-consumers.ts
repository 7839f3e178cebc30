import {
  jobStream,
  priorityLevels,
  priorityName,
  queueConsumer,
  queueFilter,
  schedulerConsumer,
  scheduleStream,
} from "@millrace/protocol";
import { BusError } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";

export interface QueueConsumerOptions {
  /** The lease: no word of the worker for this long, and the job goes to another. */
  readonly ackWaitMs: number;
  /** Bound on jobs that are out with workers, for each queue and level. */
  readonly maxAckPending?: number;
}

const defaultMaxAckPending = 20_000;
/** Parked pulls for each consumer: workers × their outstanding pulls. The broker's default is 512. */
const maxWaiting = 4096;
const nanosecondsPerMs = 1_000_000;

/** The durable consumer of a queue on each of the four levels, made or brought in line. */
export async function ensureQueueConsumers(
  api: JetStreamApi,
  queue: string,
  options: QueueConsumerOptions,
): Promise<void> {
  await Promise.all(
    priorityLevels.map((level) =>
      ensureConsumer(api, jobStream(priorityName(level)), queueConsumer(queue), queueFilter(level, queue), options),
    ),
  );
}

/** The scheduler's durable consumer. */
export function ensureSchedulerConsumer(api: JetStreamApi, options: QueueConsumerOptions): Promise<void> {
  return ensureConsumer(api, scheduleStream, schedulerConsumer, "schedule.>", options);
}

/** Makes or changes a durable consumer. By its filter's subject, to which the broker holds who may publish there. */
export async function createConsumer(
  api: JetStreamApi,
  stream: string,
  config: { readonly durable_name: string; readonly filter_subject: string },
): Promise<void> {
  const { durable_name: name, filter_subject: filter } = config;
  await api.requestPatiently(`CONSUMER.CREATE.${stream}.${name}.${filter}`, { stream_name: stream, config });
}

async function ensureConsumer(
  api: JetStreamApi,
  stream: string,
  name: string,
  filter: string,
  options: QueueConsumerOptions,
): Promise<void> {
  const wanted = {
    durable_name: name,
    ack_policy: "explicit",
    deliver_policy: "all",
    replay_policy: "instant",
    filter_subject: filter,
    ack_wait: options.ackWaitMs * nanosecondsPerMs,
    // Attempts are counted by us: the broker must never give a job up.
    max_deliver: -1,
    max_ack_pending: options.maxAckPending ?? defaultMaxAckPending,
  };
  const found = await api.find(`CONSUMER.INFO.${stream}.${name}`);
  const current = found?.object("config");
  if (current !== undefined) {
    const fixed = (["ack_policy", "filter_subject"] as const).filter(
      (field) => current.string(field) !== wanted[field],
    );
    if (fixed.length > 0) {
      const text = fixed.map((field) => `${field} is ${current.string(field)}, should be ${wanted[field]}`).join("; ");
      throw new BusError("failed_precondition", `consumer ${name} of ${stream} is not as Millrace needs it: ${text}`);
    }
    const same = (["ack_wait", "max_deliver", "max_ack_pending"] as const).every(
      (field) => current.number(field) === wanted[field],
    );
    if (same) return;
  }
  await createConsumer(api, stream, {
    ...(current === undefined ? { max_waiting: maxWaiting } : current.raw()),
    ...wanted,
  });
}
