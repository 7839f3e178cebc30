import { JobState, type Priority } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** A job whose time has come, with what is needed to publish it. */
export interface DueJob {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: Priority;
  /** Empty for what came over NATS. */
  readonly owner: string;
  /** Of the row, in state SCHEDULED: run, attempt and move are in it. */
  readonly version: number;
  /** 0: not known. */
  readonly maxAttempts: number;
  readonly payload: Uint8Array;
  /** By header name; without what differs from one attempt to the next. */
  readonly headers: Readonly<Record<string, string>>;
  readonly traceparent: string;
  readonly replyTo: string;
  /** By how much it was overdue when it was claimed, ms, by the database's clock. */
  readonly lateMs: number;
}

/**
 * Takes jobs whose time has come by the database's clock, the earliest first. Nobody else gets them for `leaseMs`; when they
 * are not marked as released by then, they are due again. No transaction stays open while they are published.
 */
export async function claimDueJobs(
  db: Kysely<Schema>,
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number },
): Promise<DueJob[]> {
  const { rows } = await sql<{
    id: string;
    queue: string;
    type: string;
    priority: Priority;
    owner: string | null;
    version: number;
    max_attempts: number | null;
    payload: Buffer | null;
    headers: Record<string, string> | null;
    traceparent: string | null;
    reply_to: string | null;
    late_ms: number;
  }>`
    UPDATE jobs AS j SET due_at = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
    FROM (
      SELECT id, due_at FROM jobs
      WHERE due_at <= clock_timestamp() AND state = ${JobState.SCHEDULED}
      ORDER BY due_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE j.id = due.id
    RETURNING j.id, j.queue, j.type, j.priority, j.owner, j.version, j.max_attempts, j.payload, j.headers, j.traceparent,
      j.reply_to, (extract(epoch FROM clock_timestamp() - due.due_at) * 1000)::float8 AS late_ms`.execute(db);
  return rows
    .map((row) => ({
      id: row.id,
      queue: row.queue,
      type: row.type,
      priority: row.priority,
      owner: row.owner ?? "",
      version: row.version,
      maxAttempts: row.max_attempts ?? 0,
      payload: row.payload ?? new Uint8Array(0),
      headers: row.headers ?? {},
      traceparent: row.traceparent ?? "",
      replyTo: row.reply_to ?? "",
      lateMs: row.late_ms,
    }))
    .toSorted((a, b) => b.lateMs - a.lateMs);
}
