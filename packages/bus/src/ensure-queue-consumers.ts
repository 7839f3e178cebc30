import {
  jobStream,
  priorityLevels,
  priorityName,
  queueConsumer,
  queueFilter,
  type PriorityLevel,
} from "@millrace/protocol";
import { BusError } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { JsonObject } from "./json.ts";
import type { KvBucket } from "./kv-bucket.ts";
import { streamState } from "./stream-state.ts";

export interface QueueConsumerOptions {
  /** The lease: no word of the worker for this long, and the job goes to another. */
  readonly ackWaitMs: number;
  /** Bound on jobs that are out with workers, for each queue and level. */
  readonly maxAckPending?: number;
}

/** The consumer of a queue at one level. */
export interface QueueConsumer {
  readonly level: PriorityLevel;
  /**
   * The log's last sequence when the consumer was made anew; 0 when it is the first. Up to there it delivers what its predecessors
   * have delivered already: who runs that must look first whether it has ended.
   */
  readonly anewSeq: number;
}

const defaultMaxAckPending = 20_000;
/** Parked pulls for each consumer: workers × their outstanding pulls. The broker's default is 512. */
const maxWaiting = 4096;
const nanosecondsPerMs = 1_000_000;
const anewForm = /^anew:(\d{1,15})$/;
const encoder = new TextEncoder();

/**
 * The durable consumer of a queue on each of the four levels, made or brought in line.
 * @param known the bucket `consumers`, which remembers the queues that have had them
 */
export async function ensureQueueConsumers(
  api: JetStreamApi,
  known: KvBucket,
  queue: string,
  options: QueueConsumerOptions,
): Promise<readonly QueueConsumer[]> {
  const name = queueConsumer(queue);
  // Before they are made: a process that dies in between leaves a queue whose consumers look too often, never too seldom.
  const [isNew, ...found] = await Promise.all([
    isFirst(known, queue),
    ...priorityLevels.map(async (level) => {
      const stream = jobStream(priorityName(level));
      const info = await api.find(`CONSUMER.INFO.${stream}.${name}`);
      return { level, stream, config: info?.object("config") };
    }),
  ]);
  const first = isNew && found.every(({ config }) => config === undefined);
  const anew: Record<string, number> = {};
  const missing = first ? [] : found.filter(({ config }) => config === undefined);
  const retired = missing.length === 0 ? undefined : decodeRetired((await known.get(queue))?.value);
  const starts = new Map<string, number>();
  for (const { stream } of missing) {
    const { lastSeq } = await streamState(api, stream);
    const start = retired?.start.get(stream) ?? 0;
    // A broker that was killed may count on from before it: then all that is stored is delivered.
    const isThere = start > 0 && start <= lastSeq + 1;
    if (isThere) starts.set(stream, start);
    anew[stream] = (isThere ? retired?.anew.get(stream) : undefined) ?? lastSeq;
  }
  // Workers that have no pull open do not hear that a consumer went and came back; they watch this.
  if (Object.keys(anew).length > 0) await known.put(queue, encoder.encode(JSON.stringify({ anew })));
  return Promise.all(
    found.map(async ({ level, stream, config }) => {
      const description = anew[stream] === undefined ? config?.string("description") : `anew:${anew[stream]}`;
      await ensureConsumer(api, stream, config, {
        durable_name: name,
        filter_subject: queueFilter(level, queue),
        ack_policy: "explicit",
        ack_wait: options.ackWaitMs * nanosecondsPerMs,
        // Attempts are counted by us: the broker must never give a job up.
        max_deliver: -1,
        max_ack_pending: options.maxAckPending ?? defaultMaxAckPending,
        ...(description ? { description } : {}),
        ...startOf(starts.get(stream)),
      });
      return { level, anewSeq: anewSeqOf(description) };
    }),
  );
}

/** The consumer of a queue at one level, as it is; undefined when there is none. @throws BusError unavailable: it has no leader */
export async function findQueueConsumer(
  api: JetStreamApi,
  queue: string,
  level: PriorityLevel,
): Promise<QueueConsumer | undefined> {
  const name = `${jobStream(priorityName(level))}.${queueConsumer(queue)}`;
  const info = await api.find(`CONSUMER.INFO.${name}`);
  // A server that was started and has no company answers for a leader that nobody has elected.
  if (info?.object("cluster").has("name") === true && !info.object("cluster").has("leader")) {
    throw new BusError("unavailable", `consumer ${name} has no leader`);
  }
  return info === undefined ? undefined : { level, anewSeq: anewSeqOf(info.object("config").string("description")) };
}

/** What an entry says of consumers that were deleted as nothing came for them. */
interface Retired {
  /** Below it nothing waits, by log. */
  readonly start: ReadonlyMap<string, number>;
  /** Up to where the deleted one may have delivered more, by log; a log that is not here: unknown. */
  readonly anew: ReadonlyMap<string, number>;
}

/** @param anew not known yet: while they are being deleted */
export function encodeRetired(start: ReadonlyMap<string, number>, anew?: ReadonlyMap<string, number>): Uint8Array {
  const known = anew === undefined ? {} : { anew: Object.fromEntries(anew) };
  return encoder.encode(JSON.stringify({ start: Object.fromEntries(start), ...known }));
}

function decodeRetired(value: Uint8Array | undefined): Retired | undefined {
  if (value === undefined) return undefined;
  try {
    const start = JsonObject.parse(value).object("start");
    const entries = Object.keys(start.raw()).map((stream) => [stream, start.number(stream)] as const);
    return { start: new Map(entries), anew: decodeMadeAnew(value) };
  } catch {
    return undefined;
  }
}

function startOf(seq: number | undefined): Pick<ConsumerConfig, "deliver_policy" | "opt_start_seq"> {
  return seq === undefined ? {} : { deliver_policy: "by_start_sequence", opt_start_seq: seq };
}

export function encodeMadeAnew(anew: ReadonlyMap<string, number>): Uint8Array {
  return encoder.encode(JSON.stringify({ anew: Object.fromEntries(anew) }));
}

/** What an entry of the bucket `consumers` says: up to which sequence of which log its consumers deliver again. */
export function decodeMadeAnew(value: Uint8Array): ReadonlyMap<string, number> {
  try {
    const anew = JsonObject.parse(value).object("anew");
    return new Map(Object.keys(anew.raw()).map((stream) => [stream, anew.number(stream)]));
  } catch {
    return new Map();
  }
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

function anewSeqOf(description: string | undefined): number {
  return Number(anewForm.exec(description ?? "")?.[1] ?? 0);
}

async function isFirst(known: KvBucket, queue: string): Promise<boolean> {
  try {
    await known.create(queue, encoder.encode("{}"));
    return true;
  } catch (error) {
    if (error instanceof BusError && error.code === "already_exists") return false;
    throw error;
  }
}

interface ConsumerConfig {
  readonly durable_name: string;
  readonly filter_subject: string;
  readonly ack_policy: string;
  readonly ack_wait: number;
  readonly max_deliver: number;
  readonly max_ack_pending: number;
  readonly deliver_policy?: string;
  readonly opt_start_seq?: number;
}

async function ensureConsumer(
  api: JetStreamApi,
  stream: string,
  current: JsonObject | undefined,
  wanted: ConsumerConfig,
): Promise<void> {
  if (current === undefined) {
    const start = { deliver_policy: "all", replay_policy: "instant", max_waiting: maxWaiting };
    return createConsumer(api, stream, { ...start, ...wanted });
  }
  const fixed = (["ack_policy", "filter_subject"] as const).filter((field) => current.string(field) !== wanted[field]);
  if (fixed.length > 0) {
    const text = fixed.map((field) => `${field} is ${current.string(field)}, should be ${wanted[field]}`).join("; ");
    throw new BusError(
      "failed_precondition",
      `consumer ${wanted.durable_name} of ${stream} is not as Millrace needs it: ${text}`,
    );
  }
  const same = (["ack_wait", "max_deliver", "max_ack_pending"] as const).every(
    (field) => current.number(field) === wanted[field],
  );
  const { deliver_policy: _, opt_start_seq: __, ...changeable } = wanted;
  if (!same) await createConsumer(api, stream, { ...current.raw(), ...changeable });
}
