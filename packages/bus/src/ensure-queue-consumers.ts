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
import { pause } from "./pause.ts";
import { streamState } from "./stream-state.ts";

export interface QueueConsumerOptions {
  /** The lease: no word of the worker for this long, and the job goes to another. */
  readonly ackWaitMs: number;
  /** Bound on jobs that are out with workers, for each queue and level. */
  readonly maxAckPending?: number;
  /** Those that are needed; the others may be missing. All four when left out. */
  readonly levels?: readonly PriorityLevel[];
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
/** How often, and after what first pause, doubled each time, one looks for a consumer that another process may be making. */
const mostLooks = 5;
const firstLookMs = 10;
/** Processes that change the entry of one queue at the same moment. */
const mostConflicts = 10;
const nanosecondsPerMs = 1_000_000;
const anewForm = /^anew:(\d{1,15})$/;
const encoder = new TextEncoder();

/**
 * The durable consumers of a queue, one for each level, made or brought in line.
 * @param known the bucket `consumers`, which remembers the queues that have had them
 * @returns those of the levels that were asked for
 * @throws BusError failed_precondition when one is there that is not as it must be; aborted when other processes change the queue's
 * entry all the time; and as JetStreamApi.requestPatiently does
 */
export async function ensureQueueConsumers(
  api: JetStreamApi,
  known: KvBucket,
  queue: string,
  options: QueueConsumerOptions,
): Promise<readonly QueueConsumer[]> {
  const name = queueConsumer(queue);
  const { levels = priorityLevels } = options;
  for (let looks = 0, conflicts = 0; ;) {
    const [entry, ...found] = await Promise.all([
      known.get(queue),
      ...priorityLevels.map(async (level): Promise<Found> => {
        const stream = jobStream(priorityName(level));
        const info = await api.find(`CONSUMER.INFO.${stream}.${name}`);
        return { level, stream, config: info?.object("config") };
      }),
    ]);
    const wanted = found.filter(({ level }) => levels.includes(level));
    const missing = wanted.filter(({ config }) => config === undefined).map(({ stream }) => stream);
    const without = decodeEntry(entry?.value);
    if (entry !== undefined && missing.some((stream) => !without.start.has(stream)) && looks < mostLooks) {
      // The entry says that it is there: another process may be about to make it. Else somebody has deleted it.
      await pause(firstLookMs * 2 ** looks++);
      continue;
    }
    const isFirst = entry === undefined && found.every(({ config }) => config === undefined);
    const plan = isFirst ? planFirst(found, missing) : await planAnew(api, without, missing);
    try {
      // Before they are made: a process that dies in between leaves a queue whose consumers look too often, never too seldom.
      // Workers that have no pull open do not hear that a consumer went and came back; they watch this.
      if (entry === undefined) await known.create(queue, encodeEntry(plan.entry));
      else if (missing.length > 0) await known.update(queue, encodeEntry(plan.entry), entry.revision);
    } catch (error) {
      const isTaken = error instanceof BusError && (error.code === "aborted" || error.code === "already_exists");
      if (!isTaken || ++conflicts > mostConflicts) throw error;
      looks = 0;
      continue;
    }
    return Promise.all(
      wanted.map(async ({ level, stream, config }) => {
        const anewSeq = plan.anew.get(stream);
        const description = anewSeq === undefined ? config?.string("description") : `anew:${anewSeq}`;
        await ensureConsumer(api, stream, config, {
          durable_name: name,
          filter_subject: queueFilter(level, queue),
          ack_policy: "explicit",
          ack_wait: options.ackWaitMs * nanosecondsPerMs,
          // Attempts are counted by us: the broker must never give a job up.
          max_deliver: -1,
          max_ack_pending: options.maxAckPending ?? defaultMaxAckPending,
          ...(description ? { description } : {}),
          ...startOf(plan.starts.get(stream)),
        });
        return { level, anewSeq: anewSeqOf(description) };
      }),
    );
  }
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

function anewSeqOf(description: string | undefined): number {
  return Number(anewForm.exec(description ?? "")?.[1] ?? 0);
}

/** What the broker has at one level. */
interface Found {
  readonly level: PriorityLevel;
  readonly stream: string;
  /** Undefined: no consumer. */
  readonly config: JsonObject | undefined;
}

/** How missing consumers are made, by log, and what the queue's entry says from then on. */
interface Plan {
  readonly entry: QueueEntry;
  readonly starts: ReadonlyMap<string, number>;
  readonly anew: ReadonlyMap<string, number>;
}

/** A queue that never had any: those that are not needed yet will begin at the logs' first messages, and have nothing to look up. */
function planFirst(found: readonly Found[], missing: readonly string[]): Plan {
  const others = found.map(({ stream }) => stream).filter((stream) => !missing.includes(stream));
  const start = new Map(others.map((stream) => [stream, 1]));
  return { entry: { start, anew: new Map(others.map((stream) => [stream, 0])) }, starts: new Map(), anew: new Map() };
}

async function planAnew(api: JetStreamApi, without: QueueEntry, missing: readonly string[]): Promise<Plan> {
  const starts = new Map<string, number>();
  const anew = new Map<string, number>();
  await Promise.all(
    missing.map(async (stream) => {
      const { lastSeq } = await streamState(api, stream);
      const start = without.start.get(stream) ?? 0;
      // A broker that was killed may count on from before it: then all that is stored is delivered.
      const isThere = start > 0 && start <= lastSeq + 1;
      if (isThere) starts.set(stream, start);
      anew.set(stream, (isThere ? without.anew.get(stream) : undefined) ?? lastSeq);
    }),
  );
  const start = new Map([...without.start].filter(([stream]) => !missing.includes(stream)));
  return { entry: { start, anew: new Map([...without.anew, ...anew]) }, starts, anew };
}

/** What an entry of the bucket `consumers` says of a queue, by log. */
export interface QueueEntry {
  /** Logs without a consumer of the queue, as it was deleted when nothing came, or never needed: below it nothing waits. */
  readonly start: ReadonlyMap<string, number>;
  /**
   * Up to where a consumer may deliver what one before it has delivered. Of a log that has a start and is not here that is unknown: its
   * consumer is being deleted.
   */
  readonly anew: ReadonlyMap<string, number>;
}

export function encodeEntry({ start, anew }: QueueEntry): Uint8Array {
  const value = {
    ...(start.size === 0 ? {} : { start: Object.fromEntries(start) }),
    ...(anew.size === 0 ? {} : { anew: Object.fromEntries(anew) }),
  };
  return encoder.encode(JSON.stringify(value));
}

/** @param value undefined, or not to be read: it says nothing */
export function decodeEntry(value: Uint8Array | undefined): QueueEntry {
  return { start: decodePlaces(value, "start"), anew: decodePlaces(value, "anew") };
}

/** Up to which sequence of which log the consumers of a queue deliver again, as its entry in the bucket `consumers` says. */
export function decodeMadeAnew(value: Uint8Array): ReadonlyMap<string, number> {
  return decodePlaces(value, "anew");
}

function decodePlaces(value: Uint8Array | undefined, field: keyof QueueEntry): ReadonlyMap<string, number> {
  if (value === undefined) return new Map();
  try {
    const places = JsonObject.parse(value).object(field);
    return new Map(Object.keys(places.raw()).map((stream) => [stream, places.number(stream)]));
  } catch {
    return new Map();
  }
}

function startOf(seq: number | undefined): Pick<ConsumerConfig, "deliver_policy" | "opt_start_seq"> {
  return seq === undefined ? {} : { deliver_policy: "by_start_sequence", opt_start_seq: seq };
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
