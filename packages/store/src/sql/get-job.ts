import { runOfVersion, type Job } from "@millrace/protocol";
import type { Kysely } from "kysely";
import { toJob } from "../job-from-row.ts";
import type { JobPlace } from "../job-patch.ts";
import type { Schema } from "../schema.ts";

/** A job as the contract shows it, and what only Millrace itself needs: to cancel it, or to run it again. */
export interface StoredJob {
  readonly job: Job;
  /** The handler's input, as the publisher sent it; empty until the submission is known. */
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** By header name; without what differs from one attempt to the next. */
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: string | undefined;
  /** Events have told of it, and no submission: what it is cannot be read in full. */
  readonly isStub: boolean;
  /** The current or last run. */
  readonly run: number;
  /** See jobVersion; -1 when no event has told of a state. */
  readonly version: number;
  /** When the scheduler is to publish it, Unix ms; 0: it does not wait for its time. */
  readonly dueAtMs: number;
  readonly replyTo: string;
  /** Where its newest copy lies (or lay, once it has run). */
  readonly place: JobPlace | undefined;
}

export async function getJob(db: Kysely<Schema>, id: string): Promise<StoredJob | undefined> {
  const row = await db.selectFrom("jobs").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    job: toJob(row),
    payload: row.payload ?? new Uint8Array(0),
    contentType: row.content_type ?? "",
    headers: row.headers ?? {},
    rawHeaders: row.raw_headers ?? undefined,
    isStub: row.headers === null,
    run: Math.max(1, runOfVersion(row.version)),
    version: row.version,
    dueAtMs: row.due_at?.getTime() ?? 0,
    replyTo: row.reply_to ?? "",
    place:
      row.stream === null || row.stream_seq === null
        ? undefined
        : { stream: row.stream, seq: row.stream_seq, version: row.stream_version },
  };
}
