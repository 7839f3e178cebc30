import { setTimeout as delay } from "node:timers/promises";
import { toMillraceError, type Client } from "@millrace/client";
import { isTerminal, MillraceError } from "@millrace/protocol";
import { endOf, type JobLedger } from "./job-ledger.ts";

/** Kinds of event after which nothing follows. */
const lastKinds = ["succeeded", "dead", "cancelled", "expired"];
/** So long without an event, the jobs that are open are asked for one by one. */
const askAfterMs = 1000;
/** And so long without any change, they will not end. */
const giveUpAfterMs = 60_000;
const askAtOnce = 16;
const askMost = 2000;

export interface FollowFilter {
  readonly queue: string;
  readonly type: string;
  /** A place in the event stream before the jobs. */
  readonly resumeAfter: string;
}

/**
 * Fills the ledger from the event stream, from before the first submit on, until it is complete. Events that went by
 * before the watch stood, or that could not be read, are made up for by the jobs' rows.
 * @returns false when it gave up
 */
export async function followJobs(
  client: Client,
  filter: FollowFilter,
  ledger: JobLedger,
  submitted: Promise<unknown>,
  onProgress: (ended: number) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const watching = watch(client, filter, ledger, onProgress, both, () => stop.abort());
  // Looked at below; until then it must not count as unhandled.
  watching.catch(() => undefined);
  try {
    await submitted;
    ledger.changedAt = performance.now();
    while (!ledger.complete) {
      await Promise.race([watching.catch(() => undefined), delay(askAfterMs / 4, undefined, { signal })]);
      const quietMs = performance.now() - ledger.changedAt;
      if (quietMs > giveUpAfterMs) return false;
      if (quietMs > askAfterMs) await askForMissing(client, ledger, signal);
      onProgress(ledger.count);
    }
    return true;
  } finally {
    stop.abort();
    await watching.catch(() => undefined);
  }
}

async function watch(
  client: Client,
  { queue, type, resumeAfter }: FollowFilter,
  ledger: JobLedger,
  onProgress: (ended: number) => void,
  signal: AbortSignal,
  onComplete: () => void,
): Promise<void> {
  for await (const { event } of client.watchAll({ queue, type, kinds: lastKinds }, { signal, resumeAfter })) {
    if (event === undefined || !isTerminal(event.state)) continue;
    ledger.add(event.jobId, endOf(event));
    onProgress(ledger.count);
    if (ledger.complete) return onComplete();
  }
}

async function askForMissing(client: Client, ledger: JobLedger, signal: AbortSignal): Promise<void> {
  const queue = ledger.missing(askMost);
  const lane = async () => {
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
      try {
        const { job } = await client.jobs.getJob({ id: ledger.idOf(index) }, { signal });
        if (job !== undefined && isTerminal(job.state)) ledger.add(job.id, endOf(job));
      } catch (reason) {
        const error = toMillraceError(reason, client.baseUrl);
        // Not projected yet, or the server is away for a moment.
        if (error.code !== "not_found" && error.code !== "unavailable") throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: askAtOnce }, lane));
  if (signal.aborted) throw new MillraceError("canceled", "interrupted");
}
