import { BusError, type Bus } from "@millrace/bus";
import { eventsStream, jobLogs, MillraceError } from "@millrace/protocol";

/** A sequence of each log, by its name: how far somebody has come, or is to come. */
export type LogPlaces = Readonly<Record<string, number>>;

/** The last sequence of every log that jobs come in by, and of EVENTS. */
export async function lastPlaces(bus: Bus): Promise<LogPlaces> {
  const states = await Promise.all(
    [...jobLogs, eventsStream].map(async (log) => [log, (await askLog(log, bus.streamState(log))).lastSeq] as const),
  );
  return Object.fromEntries(states);
}

/**
 * A caller asks for a job, and must not take a log that somebody deleted for a job that is not there.
 * @throws MillraceError unavailable for a log that is missing
 */
export async function askLog<T>(log: string, asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (cause) {
    if (!(cause instanceof BusError) || cause.code !== "not_found") throw cause;
    const words = `the stream ${log} is missing on the broker: restart a service, which makes it anew`;
    throw new MillraceError("unavailable", words, { cause, retryAfterMs: 5000 });
  }
}

/** Whether who reads the logs has come to all of these places. @param cursors a log that is not there was never read */
export function havePassed(cursors: ReadonlyMap<string, number>, places: LogPlaces): boolean {
  return Object.entries(places).every(([log, seq]) => (cursors.get(log) ?? 0) >= seq);
}
