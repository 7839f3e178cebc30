import { setTimeout as pause } from "node:timers/promises";
import type { CheckedSystem } from "./checked-system.ts";
import { readBroker } from "./read-broker.ts";
import { readProgress, withDatabase } from "./read-database.ts";

/** The database tells nobody of its rows: somebody has to ask. */
const askMs = 500;
/** Nothing may change for so long. */
const stillMs = 3000;
const tellMs = 5000;

export interface QuietOptions {
  /** As many rows as there are jobs that somebody was told are accepted; fewer cannot be all. */
  readonly rows: number;
  readonly timeoutMs: number;
  readonly onProgress: (text: string) => void;
}

/**
 * Waits until every job has ended, the rows stay as they are, and the broker has nothing left to give to workers.
 * @returns what it waited for in vain; undefined when all is quiet
 */
export async function waitUntilQuiet(system: CheckedSystem, options: QuietOptions): Promise<string | undefined> {
  const { rows, timeoutMs, onProgress } = options;
  const until = Date.now() + timeoutMs;
  const what = await withDatabase(system.database.url, async (client) => {
    let last = "";
    let stillSinceMs = Date.now();
    let toldMs = 0;
    while (Date.now() < until) {
      const progress = await readProgress(client);
      const text = `${progress.rows} rows, ${progress.unfinished} unfinished, ${rows} accepted`;
      if (text !== last) {
        last = text;
        stillSinceMs = Date.now();
        if (Date.now() - toldMs >= tellMs) {
          toldMs = Date.now();
          onProgress(text);
        }
      }
      const done = progress.unfinished === 0 && progress.rows >= rows;
      if (done && Date.now() - stillSinceMs >= stillMs) return undefined;
      await pause(askMs);
    }
    return `the system did not come to rest in ${timeoutMs} ms: ${last}`;
  });
  if (what !== undefined) return what;
  while (Date.now() < until) {
    // A broker that does not answer yet may do so later.
    const contents = await readBroker(system.directServers, false).catch(() => undefined);
    if (contents?.backlogs.every(({ pending, ackPending }) => pending + ackPending === 0)) return undefined;
    await pause(askMs * 2);
  }
  // The judge names them.
  return undefined;
}
