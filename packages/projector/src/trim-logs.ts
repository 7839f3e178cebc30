import { isSameStream, type Bus, type StreamState } from "@millrace/bus";
import { decodePlaceMark, eventsStream, jobLogs, scheduleStream } from "@millrace/protocol";
import type { Floors, Store } from "@millrace/store";
import type { AgeMarks } from "./age-marks.ts";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";

/** A purge empties the redelivery queues of a log's consumers and writes the state of all: it has to be worth it. */
const worthBytes = 64 << 20;
const worthShare = 0.1;
/** Share of the bytes of EVENTS at which trimming begins, and down to which it goes: watchers resume from what is kept. */
const eventsHigh = 0.6;
const eventsLow = 0.4;
/** What a plugin that lags may hold back of EVENTS: then its cursor is moved on, and the loss is counted. */
const pluginShare = 0.25;

export interface TrimOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly name: string;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly keepYoungMs: number;
  /** Of each log. */
  readonly ages: ReadonlyMap<string, AgeMarks>;
  /** Up to where each log was announced. */
  readonly announced: ReadonlyMap<string, number>;
  /** When each stream was made, as it was attached; cursors are of it. */
  readonly createdMs: ReadonlyMap<string, number>;
  /** Whether the streams are still those that were attached: asked before each purge. */
  readonly isAttached: () => boolean;
}

export interface TrimmedLog {
  readonly log: string;
  readonly purgedBelow: number;
}

/** What keeps a log from being trimmed further. */
export interface LogHold {
  readonly log: string;
  readonly firstSeq: number;
  readonly floor: number;
  /** `cursor`: not projected; `job`: an unfinished one; `announcement`; `age`; `newest`: nothing but the last message. */
  readonly by: "cursor" | "job" | "announcement" | "age" | "newest";
  /** The next thing that would keep it, were it not for an unfinished job. */
  readonly floorBesideJobs: number;
  /** Below the floor, about. */
  readonly freeBytes: number;
  /** From the floor on, about. */
  readonly heldBytes: number;
}

/**
 * Removes from the logs what every reader has passed, what is on the database's disk, and what no unfinished job has as its place.
 * @returns what was done, and what holds each log
 */
export async function trimLogs(options: TrimOptions): Promise<{ trimmed: TrimmedLog[]; holds: LogHold[] }> {
  const { bus, store, name, logger, metrics, isAttached } = options;
  const floors = await store.flushFloors(name, jobLogs);
  const trimmed: TrimmedLog[] = [];
  const holds: LogHold[] = [];
  for (const log of [...jobLogs, eventsStream]) {
    const state = await bus.streamState(log);
    const hold = log === eventsStream ? eventsHold(state, floors, options) : jobsHold(log, state, floors, options);
    holds.push(hold);
    metrics.held(hold);
    if (hold.floor <= state.firstSeq || !isWorth(hold, state)) continue;
    if (!isSameStream(state, options.createdMs.get(log) ?? 0) || !isAttached()) continue;
    const floor = log === eventsStream ? await aboveLaggards(bus, hold.floor, state) : hold.floor;
    if (floor <= state.firstSeq || floor < 2) continue;
    const unfiltered = log === eventsStream ? [] : await bus.upkeep.unfilteredConsumers(log);
    if (unfiltered.length > 0) {
      const names = unfiltered.map((consumer) => consumer.name);
      logger.warn(
        { log, consumers: names },
        "not trimmed: consumers that are held to no queue would lose what they have out",
      );
      continue;
    }
    await bus.upkeep.purgeBelow(log, floor);
    trimmed.push({ log, purgedBelow: floor });
    metrics.trimmed(log, floor - state.firstSeq);
  }
  if (trimmed.length > 0) await forgetPlaceMarks(bus, trimmed);
  return { trimmed, holds };
}

function jobsHold(log: string, state: StreamState, floors: Floors, options: TrimOptions): LogHold {
  const { ages, announced, keepYoungMs, createdMs } = options;
  const cursor = floors.cursors.get(log);
  const read = cursor?.streamCreatedMs === createdMs.get(log) ? (cursor?.flushedSeq ?? 0) : 0;
  // At most a tenth of the bytes is kept for its age alone.
  const youngFrom = Math.max(
    (ages.get(log)?.newestBefore(Date.now() - keepYoungMs) ?? 0) + 1,
    seqAtBytes(state, state.bytes - state.maxBytes * worthShare),
  );
  const limits = [
    { by: "cursor", floor: read + 1 },
    // What waits for its time does so as a row, which has all of it.
    { by: "job", floor: log === scheduleStream ? Infinity : (floors.unfinished.get(log) ?? Infinity) },
    { by: "announcement", floor: (announced.get(log) ?? 0) + 1 },
    { by: "age", floor: youngFrom },
    { by: "newest", floor: state.lastSeq },
  ] as const;
  return holdOf(log, state, limits);
}

function eventsHold(state: StreamState, floors: Floors, { createdMs }: TrimOptions): LogHold {
  const cursor = floors.cursors.get(eventsStream);
  const read = cursor?.streamCreatedMs === createdMs.get(eventsStream) ? (cursor?.flushedSeq ?? 0) : 0;
  const { bytes, maxBytes } = state;
  const wanted = maxBytes > 0 && bytes >= maxBytes * eventsHigh ? seqAtBytes(state, bytes - maxBytes * eventsLow) : 0;
  return holdOf(eventsStream, state, [
    { by: "cursor", floor: read + 1 },
    { by: "age", floor: wanted },
    { by: "newest", floor: state.lastSeq },
  ]);
}

function holdOf(
  log: string,
  state: StreamState,
  limits: readonly { readonly by: LogHold["by"]; readonly floor: number }[],
): LogHold {
  const first = limits.reduce((least, limit) => (limit.floor < least.floor ? limit : least));
  const floorBesideJobs = Math.min(...limits.filter(({ by }) => by !== "job").map(({ floor }) => floor));
  const freeBytes = bytesBelow(state, first.floor);
  const { firstSeq, bytes } = state;
  const { floor, by } = first;
  return { log, firstSeq, floor, by, floorBesideJobs, freeBytes, heldBytes: bytes - freeBytes };
}

function isWorth({ freeBytes, log }: LogHold, { maxBytes }: StreamState): boolean {
  if (log === eventsStream) return true;
  return freeBytes >= Math.min(worthBytes, maxBytes > 0 ? maxBytes * worthShare : worthBytes);
}

/** About: messages of a log differ in size. */
function bytesBelow({ firstSeq, lastSeq, bytes }: StreamState, seq: number): number {
  const messages = lastSeq - firstSeq + 1;
  return messages <= 0 ? 0 : (bytes * Math.min(messages, Math.max(0, seq - firstSeq))) / messages;
}

function seqAtBytes({ firstSeq, lastSeq, bytes }: StreamState, below: number): number {
  return bytes <= 0 || below <= 0 ? firstSeq : firstSeq + Math.floor(((lastSeq - firstSeq + 1) * below) / bytes);
}

/** Plugins that have not heard of all of it keep it, within bounds. */
async function aboveLaggards(bus: Bus, floor: number, state: StreamState): Promise<number> {
  const bound = seqAtBytes(state, state.bytes - state.maxBytes * (eventsLow + pluginShare));
  let least = floor;
  for (const { key, value } of await bus.kv("eventCursors").entries()) {
    if (!key.startsWith("cursor.")) continue;
    const { seq } = JSON.parse(new TextDecoder().decode(value)) as { readonly seq?: unknown };
    if (typeof seq === "number" && seq + 1 < least) least = seq + 1;
  }
  return Math.max(least, Math.min(floor, bound));
}

/** A place that is gone is delivered by nobody. */
async function forgetPlaceMarks(bus: Bus, trimmed: readonly TrimmedLog[]): Promise<void> {
  const bucket = bus.kv("cancel");
  const below = new Map(trimmed.map(({ log, purgedBelow }) => [log, purgedBelow]));
  for (const { key, value, revision } of await bucket.entries()) {
    if (decodePlaceMark(key, value) === undefined) continue;
    const [, log = "", seq = ""] = key.split("/");
    if (Number(seq) < (below.get(log) ?? 0)) await bucket.delete(key, { revision }).catch(() => undefined);
  }
}
