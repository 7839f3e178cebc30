import { MillraceError, type Job, type JobState, type Priority } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import { toJob } from "../job-from-row.ts";
import type { Schema } from "../schema.ts";

/** All that are given must hold; 0 and "" stand for not given. Times in Unix ms. */
export interface JobFilter {
  readonly queue?: string;
  readonly type?: string;
  readonly states?: readonly JobState[];
  readonly priority?: Priority;
  readonly tag?: string;
  readonly correlationId?: string;
  /** Id of the user who submitted them. */
  readonly owner?: string;
  readonly submittedAfterMs?: number;
  readonly submittedBeforeMs?: number;
}

export interface JobPage {
  /** Without payloads and results. */
  readonly jobs: Job[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/** Most rows of a page. */
export const maxPageSize = 500;
const defaultPageSize = 50;

/**
 * Jobs by time of submission, newest first.
 * @param page size (50 when 0, at most maxPageSize) and the token of the page before, or ""
 * @throws MillraceError `invalid_argument` for a token that is not ours
 */
export async function listJobs(
  db: Kysely<Schema>,
  filter: JobFilter,
  page: { readonly size: number; readonly token: string },
): Promise<JobPage> {
  const size = Math.min(page.size || defaultPageSize, maxPageSize);
  const { queue, type, states, priority, tag, correlationId, owner, submittedAfterMs, submittedBeforeMs } = filter;
  let query = db
    .selectFrom("jobs")
    .select([
      "id",
      "queue",
      "type",
      "priority",
      "state",
      "attempt",
      "max_attempts",
      "version",
      "content_type",
      "result_content_type",
      "tags",
      "correlation_id",
      "unique_key",
      "traceparent",
      "submitted_at",
      "run_at",
      "stream",
      "stream_seq",
      "stream_version",
      "worker",
      "started_at",
      "finished_at",
      "run_us",
      "wait_reason",
      "plugin",
      "fuel",
      "owner",
      "due_at",
      "reply_to",
      "first_stream",
      "first_seq",
      "duplicates",
      "errors",
      "cancel_requested_at",
      "event_seq",
      "event_index",
      "updated_at",
    ]);
  if (queue) query = query.where("queue", "=", queue);
  if (type) query = query.where("type", "=", type);
  // Literals, not parameters: the planner sees whether the partial index on states fits. They are numbers of ours.
  if (states?.length)
    query = query.where(sql<boolean>`state IN (${sql.join(states.map((state) => sql.lit(Math.trunc(state))))})`);
  if (priority) query = query.where("priority", "=", priority);
  if (tag) query = query.where(sql<boolean>`tags @> ARRAY[${tag}::text]`);
  if (correlationId) query = query.where("correlation_id", "=", correlationId);
  if (owner) query = query.where("owner", "=", owner);
  if (submittedAfterMs) query = query.where("submitted_at", ">=", new Date(submittedAfterMs));
  if (submittedBeforeMs) query = query.where("submitted_at", "<", new Date(submittedBeforeMs));
  if (page.token !== "") {
    const { atMs, id } = decodeToken(page.token);
    query = query.where(sql<boolean>`(submitted_at, id) < (${new Date(atMs)}::timestamptz, ${id}::text)`);
  }
  // One more than asked for tells whether there is a next page.
  const rows = await query
    .orderBy("submitted_at", "desc")
    .orderBy("id", "desc")
    .limit(size + 1)
    .execute();
  const last = rows.length > size ? rows[size - 1] : undefined;
  return {
    jobs: rows.slice(0, size).map(toJob),
    nextPageToken: last === undefined ? "" : encodeToken(last.submitted_at.getTime(), last.id),
  };
}

function encodeToken(atMs: number, id: string): string {
  return Buffer.from(`${atMs}.${id}`).toString("base64url");
}

function decodeToken(token: string): { atMs: number; id: string } {
  const match = /^(-?\d{1,15})\.([A-Za-z0-9_-]{1,64})$/.exec(Buffer.from(token, "base64url").toString());
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new MillraceError("invalid_argument", "the page token is not one of ours", {
      details: [{ field: "page_token", reason: "must come from next_page_token of an earlier answer" }],
    });
  }
  return { atMs: Number(match[1]), id: match[2] };
}
