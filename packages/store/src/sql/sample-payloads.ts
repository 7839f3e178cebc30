import { JobState } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** So many rows are looked at, by the index of queue and time: a few milliseconds, however long the queue is. */
const sampledRows = 1000;

/** Of the newest jobs of a queue. */
export interface PayloadSample {
  readonly jobs: number;
  readonly bytes: number;
  /** Of those the ones that wait: scheduled, queued, retrying. */
  readonly waitingJobs: number;
  readonly waitingBytes: number;
}

/** How large the payloads of a queue's newest jobs are. */
export async function samplePayloads(db: Kysely<Schema>, queue: string): Promise<PayloadSample> {
  const waiting = sql`state IN (${JobState.SCHEDULED}, ${JobState.QUEUED}, ${JobState.RETRYING})`;
  const { rows } = await sql<Record<"jobs" | "bytes" | "waiting_jobs" | "waiting_bytes", number | string>>`
    SELECT count(*) AS jobs, coalesce(sum(bytes), 0) AS bytes, count(*) FILTER (WHERE ${waiting}) AS waiting_jobs,
      coalesce(sum(bytes) FILTER (WHERE ${waiting}), 0) AS waiting_bytes
    FROM (
      SELECT state, coalesce(octet_length(payload), 0) AS bytes FROM jobs WHERE queue = ${queue}
      ORDER BY submitted_at DESC LIMIT ${sampledRows}
    ) AS newest`.execute(db);
  const row = rows[0];
  const figure = (name: keyof NonNullable<typeof row>): number => Number(row?.[name] ?? 0);
  return {
    jobs: figure("jobs"),
    bytes: figure("bytes"),
    waitingJobs: figure("waiting_jobs"),
    waitingBytes: figure("waiting_bytes"),
  };
}
