import { setTimeout as delay } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@millrace/client";
import { isTerminal } from "@millrace/protocol";
import type { JobLedger } from "./job-ledger.ts";

/** What the read model holds of the demo's jobs. */
export interface Rows {
  /** Different jobs. */
  readonly count: number;
  /** Rows above one for a job. */
  readonly doubled: number;
  /** Rows whose job has not ended. */
  readonly open: number;
  /** Submit to finish of every job, ascending, in ms. */
  readonly latenciesMs: readonly number[];
  /** The first submit to the last finish, in ms. */
  readonly spanMs: number;
}

const pageSize = 500;
/** The read model follows the events; so long it may take to catch up after the last. */
const catchUpMs = 60_000;
const pollMs = 500;

/** Reads all rows, again and again until every job has one that has ended, or the time is over. */
export async function readRows(
  client: Client,
  correlationId: string,
  ledger: JobLedger,
  signal: AbortSignal,
): Promise<Rows> {
  const deadline = Date.now() + catchUpMs;
  for (;;) {
    const rows = await readOnce(client, correlationId, ledger, signal);
    const settled = rows.count === ledger.total && rows.open === 0;
    if (settled || Date.now() > deadline) return rows;
    await delay(pollMs, undefined, { signal });
  }
}

async function readOnce(client: Client, correlationId: string, ledger: JobLedger, signal: AbortSignal): Promise<Rows> {
  const seen = new Set<number>();
  const latenciesMs: number[] = [];
  let doubled = 0;
  let open = 0;
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (let pageToken = ""; ;) {
    const page = await client.jobs.listJobs({ correlationId, pageSize, pageToken }, { signal });
    for (const { id, state, submittedAt, finishedAt } of page.jobs) {
      const index = ledger.indexOf(id);
      if (index === undefined) continue;
      if (seen.has(index)) doubled++;
      seen.add(index);
      if (!isTerminal(state)) open++;
      if (submittedAt === undefined || finishedAt === undefined) continue;
      const [from, to] = [timestampMs(submittedAt), timestampMs(finishedAt)];
      latenciesMs.push(to - from);
      first = Math.min(first, from);
      last = Math.max(last, to);
    }
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  latenciesMs.sort((a, b) => a - b);
  return { count: seen.size, doubled, open, latenciesMs, spanMs: Math.max(0, last - first) };
}
