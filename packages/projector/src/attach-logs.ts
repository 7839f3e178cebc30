import { isSameStream, type Bus, type StreamState } from "@millrace/bus";
import { eventsStream, jobLogs } from "@millrace/protocol";
import type { LogCursor, StoredCursor } from "@millrace/store";
import type { Announcer } from "./announcer.ts";
import type { ProjectorLogger } from "./projector-signals.ts";

/** All that the projector reads, EVENTS first. */
export const projectedLogs: readonly string[] = [eventsStream, ...jobLogs];

/** Messages that left their stream before the rows had them: somebody else removed them, or the database is an older copy. */
export interface Gap {
  readonly log: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

export interface AttachedLog {
  readonly createdMs: number;
  /** Everything up to here is in the rows. */
  readonly cursor: LogCursor;
  /** Everything up to here was announced; as the cursor for EVENTS. */
  readonly announcedSeq: number;
  /** The stream, or its numbers, are not those that the cursor was of: places in it that rows have mean nothing. */
  readonly isAnew: boolean;
}

export interface AttachedLogs {
  readonly logs: ReadonlyMap<string, AttachedLog>;
  readonly gaps: readonly Gap[];
  /** Consumers that were ahead of their stream, as `<stream>.<name>`. */
  readonly turnedBack: readonly string[];
}

/**
 * Finds where to go on in each log: after the cursor, where the stream is the one that it was read from and still holds the same
 * message there; else from the first message. A broker that was killed may have forgotten its newest messages, and gives their
 * numbers to others.
 * @throws BusError not_found while a stream is not there
 */
export async function attachLogs(
  bus: Bus,
  cursors: ReadonlyMap<string, StoredCursor>,
  announcer: Announcer,
  logger: ProjectorLogger,
): Promise<AttachedLogs> {
  const logs = new Map<string, AttachedLog>();
  const gaps: Gap[] = [];
  const turnedBack: string[] = [];
  for (const log of projectedLogs) {
    const stored = cursors.get(log);
    const state = await bus.streamState(log);
    const { firstSeq, lastSeq } = state;
    const why = stored === undefined ? undefined : await whyAnew(bus, log, stored, state);
    // Of a stream that is still the same, whatever its leader of this moment says.
    const createdMs = stored === undefined || why !== undefined ? state.createdMs : stored.streamCreatedMs;
    const isAnew = why !== undefined;
    if (isAnew) logger.warn({ log, cursor: stored, createdMs, lastSeq }, `${why}: reading it from its first message`);
    // A fresh database begins with what is kept; what was before that is nobody's loss, but for EVENTS beside jobs that were read.
    const from = stored === undefined || isAnew ? { seq: Math.max(0, firstSeq - 1), atMs: 0 } : stored;
    const cursor = { seq: from.seq, streamCreatedMs: createdMs, atMs: from.atMs };
    if (cursor.seq + 1 < firstSeq) {
      gaps.push({ log, fromSeq: cursor.seq + 1, toSeq: firstSeq - 1 });
      logger.error(
        { log, fromSeq: cursor.seq + 1, toSeq: firstSeq - 1 },
        "messages left their stream before they were projected",
      );
    }
    const known = stored !== undefined && !isAnew ? stored.announcedSeq : 0;
    const announcedSeq =
      log === eventsStream ? cursor.seq : await announcer.attach(log, { ...state, createdMs }, known);
    logs.set(log, { createdMs, cursor, announcedSeq: Math.min(announcedSeq, lastSeq), isAnew });
    if (log === eventsStream) continue;
    const turned = await bus.upkeep.turnBackConsumers(log);
    for (const consumer of turned) {
      logger.warn({ log, consumer, lastSeq }, "a consumer was ahead of its stream: made anew");
      turnedBack.push(`${log}.${consumer}`);
    }
  }
  // A database that never projected beside events whose beginning is gone: which jobs had ended cannot be told for all.
  const events = logs.get(eventsStream);
  if (cursors.size === 0 && events !== undefined && events.cursor.seq > 0) {
    gaps.push({ log: eventsStream, fromSeq: 1, toSeq: events.cursor.seq });
    logger.warn(
      { log: eventsStream, toSeq: events.cursor.seq },
      "an empty database: rows are built from what the logs still hold",
    );
  }
  return { logs, gaps, turnedBack };
}

async function whyAnew(bus: Bus, log: string, cursor: StoredCursor, state: StreamState): Promise<string | undefined> {
  if (!isSameStream(state, cursor.streamCreatedMs)) return `${log} was made anew`;
  if (cursor.seq > state.lastSeq) return `${log} ends before the cursor`;
  if (cursor.atMs === 0 || cursor.seq < state.firstSeq) return undefined;
  const there = await bus.messageAt(log, cursor.seq);
  return there === undefined || there.timestampMs === cursor.atMs
    ? undefined
    : `${log} holds another message at the cursor`;
}
