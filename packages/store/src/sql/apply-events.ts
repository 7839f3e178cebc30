import { CompiledQuery, type Kysely } from "kysely";
import { byteaArray, int4Array, int8Array, jsonbArray, storable, textArray, timestampArray } from "../binary-array.ts";
import type { JobPatch } from "../job-patch.ts";
import type { Schema } from "../schema.ts";
import { advanceCursor, type CursorStep } from "./advance-cursor.ts";

/** Rows of one statement: beyond a few thousand nothing is gained, and its arrays only take memory. */
const rowsPerStatement = 5000;

const columns: readonly (readonly [name: string, type: string, encode: (patches: readonly JobPatch[]) => Buffer])[] = [
  ["id", "text", (p) => textArray(p.map((x) => x.id))],
  ["queue", "text", (p) => textArray(p.map((x) => x.queue))],
  ["type", "text", (p) => textArray(p.map((x) => x.type))],
  ["priority", "int4", (p) => int4Array(p.map((x) => x.priority))],
  ["state", "int4", (p) => int4Array(p.map((x) => x.state))],
  ["attempt", "int4", (p) => int4Array(p.map((x) => x.attempt))],
  ["max_attempts", "int4", (p) => int4Array(p.map((x) => x.maxAttempts || null))],
  ["version", "int4", (p) => int4Array(p.map((x) => x.version))],
  ["payload", "bytea", (p) => byteaArray(p.map((x) => x.submission?.payload))],
  ["content_type", "text", (p) => textArray(p.map((x) => x.submission?.contentType))],
  ["headers", "jsonb", (p) => jsonbArray(p.map((x) => headersJson(x)))],
  ["raw_headers", "text", (p) => textArray(p.map((x) => x.submission?.rawHeaders))],
  // Tags hold no comma, so one text stands for a list: unnest would flatten arrays of arrays.
  ["tags", "text", (p) => textArray(p.map((x) => x.submission?.tags.join(",") || null))],
  ["correlation_id", "text", (p) => textArray(p.map((x) => x.submission?.correlationId || null))],
  ["unique_key", "text", (p) => textArray(p.map((x) => x.submission?.uniqueKey || null))],
  ["traceparent", "text", (p) => textArray(p.map((x) => x.traceparent || null))],
  ["submitted_at", "timestamptz", (p) => timestampArray(p.map((x) => x.submittedAtMs))],
  ["run_at", "timestamptz", (p) => timestampArray(p.map((x) => x.runAtMs || null))],
  ["stream", "text", (p) => textArray(p.map((x) => x.place?.stream))],
  ["stream_seq", "int8", (p) => int8Array(p.map((x) => x.place?.seq))],
  ["stream_version", "int4", (p) => int4Array(p.map((x) => x.place?.version ?? -1))],
  ["worker", "text", (p) => textArray(p.map((x) => x.worker || null))],
  ["started_at", "timestamptz", (p) => timestampArray(p.map((x) => x.startedAtMs || null))],
  ["finished_at", "timestamptz", (p) => timestampArray(p.map((x) => x.finishedAtMs || null))],
  ["run_us", "int8", (p) => int8Array(p.map((x) => (x.startedAtMs > 0 ? Math.round(x.runUs) : null)))],
  ["result", "bytea", (p) => byteaArray(p.map((x) => x.result))],
  ["result_content_type", "text", (p) => textArray(p.map((x) => x.resultContentType || null))],
  ["wait_reason", "text", (p) => textArray(p.map((x) => x.waitReason || null))],
  ["errors", "jsonb", (p) => jsonbArray(p.map((x) => (x.failures.length === 0 ? null : json(x.failures))))],
  ["cancel_requested_at", "timestamptz", (p) => timestampArray(p.map((x) => x.cancelRequestedAtMs || null))],
  ["event_seq", "int8", (p) => int8Array(p.map((x) => x.eventSeq))],
  ["event_index", "int4", (p) => int4Array(p.map((x) => x.eventIndex))],
  ["updated_at", "timestamptz", (p) => timestampArray(p.map((x) => x.updatedAtMs))],
];

// Taken together, when the patch is ahead of the row.
const stateColumns = [
  "state",
  "attempt",
  "version",
  "worker",
  "started_at",
  "finished_at",
  "run_us",
  "result",
  "result_content_type",
  "wait_reason",
  "event_seq",
  "event_index",
  "updated_at",
];
// Said once by the publisher: what is known stays.
const onceColumns = [
  "payload",
  "content_type",
  "headers",
  "raw_headers",
  "tags",
  "correlation_id",
  "unique_key",
  "traceparent",
];
const names = columns.map(([name]) => name).join(", ");
const ahead = "excluded.version > jobs.version";
const placeAhead = "excluded.stream_version > jobs.stream_version";

// All parts of one statement see the table as it was before it: `before` is the old row of each one that changed.
const statement = `
WITH input AS (
  SELECT * FROM unnest(${columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(", ")}) AS t (${names})
), before AS (
  SELECT id, queue, state, priority FROM jobs WHERE id = ANY ($1::text[])
), changed AS (
  INSERT INTO jobs (${names})
  SELECT ${columns.map(([name]) => (name === "tags" ? "string_to_array(tags, ',')" : name)).join(", ")} FROM input
  ON CONFLICT (id) DO UPDATE SET
    ${stateColumns.map((c) => `${c} = CASE WHEN ${ahead} THEN excluded.${c} ELSE jobs.${c} END`).join(",\n    ")},
    ${onceColumns.map((c) => `${c} = coalesce(jobs.${c}, excluded.${c})`).join(",\n    ")},
    ${["stream", "stream_seq", "stream_version"]
      .map((c) => `${c} = CASE WHEN ${placeAhead} THEN excluded.${c} ELSE jobs.${c} END`)
      .join(",\n    ")},
    submitted_at = least(jobs.submitted_at, excluded.submitted_at),
    max_attempts = greatest(jobs.max_attempts, excluded.max_attempts),
    run_at = greatest(jobs.run_at, excluded.run_at),
    cancel_requested_at = least(jobs.cancel_requested_at, excluded.cancel_requested_at),
    errors = CASE WHEN excluded.errors IS NULL THEN jobs.errors
      ELSE merge_job_errors(jobs.errors, excluded.errors) END
  WHERE ${ahead} OR ${placeAhead}
    OR (jobs.payload IS NULL AND excluded.payload IS NOT NULL)
    OR (jobs.traceparent IS NULL AND excluded.traceparent IS NOT NULL)
    OR excluded.submitted_at < jobs.submitted_at
    OR excluded.max_attempts > coalesce(jobs.max_attempts, 0)
    OR excluded.run_at > coalesce(jobs.run_at, '-infinity')
    OR excluded.cancel_requested_at < coalesce(jobs.cancel_requested_at, 'infinity')
    OR excluded.errors IS NOT NULL
  RETURNING id, queue, state, priority
), delta AS (
  SELECT queue, state, priority, sum(n) AS n FROM (
    SELECT queue, state, priority, 1 AS n FROM changed
    UNION ALL
    SELECT b.queue, b.state, b.priority, -1 FROM before b JOIN changed c ON c.id = b.id
  ) AS moves GROUP BY queue, state, priority HAVING sum(n) <> 0
)
INSERT INTO queue_stats (queue, state, priority, count) SELECT queue, state, priority, n FROM delta
ON CONFLICT (queue, state, priority) DO UPDATE SET count = queue_stats.count + excluded.count`;

/**
 * Writes what a run of events changed, together with the cursor that says so. Patches that a row has seen change nothing.
 * The ids are distinct.
 * @throws MillraceError `aborted` when another projector moved the cursor, `unavailable` when the database is away
 */
export async function applyEvents(db: Kysely<Schema>, patches: readonly JobPatch[], step: CursorStep): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    // The cursor goes with the rows: what a crash of the server takes back is read again from EVENTS.
    await transaction.executeQuery(CompiledQuery.raw("SET LOCAL synchronous_commit = off"));
    await advanceCursor(transaction, step);
    for (let from = 0; from < patches.length; from += rowsPerStatement) {
      const part = patches.slice(from, from + rowsPerStatement);
      const values = columns.map(([, , encode]) => encode(part));
      await transaction.executeQuery(CompiledQuery.raw(statement, values));
    }
  });
}

function headersJson(patch: JobPatch): string | null {
  const headers = patch.submission?.headers;
  if (headers === undefined) return null;
  for (const _ in headers) return json(headers);
  return "{}";
}

function json(value: unknown): string {
  const text = JSON.stringify(value);
  // jsonb refuses the escape of NUL.
  if (!text.includes("\\u0000")) return text;
  return JSON.stringify(value, (_, item: unknown) => (typeof item === "string" ? storable(item) : item));
}
