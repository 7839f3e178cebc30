import type { Bus } from "@millrace/bus";
import { eventsStream, jobLogs } from "@millrace/protocol";

/** A sequence of each log, by its name: how far somebody has come, or is to come. */
export type LogPlaces = Readonly<Record<string, number>>;

/** The last sequence of every log that jobs come in by, and of EVENTS. */
export async function lastPlaces(bus: Bus): Promise<LogPlaces> {
  const states = await Promise.all(
    [...jobLogs, eventsStream].map(async (log) => [log, (await bus.streamState(log)).lastSeq] as const),
  );
  return Object.fromEntries(states);
}

/** Whether who reads the logs has come to all of these places. @param cursors a log that is not there was never read */
export function havePassed(cursors: ReadonlyMap<string, number>, places: LogPlaces): boolean {
  return Object.entries(places).every(([log, seq]) => (cursors.get(log) ?? 0) >= seq);
}
