import { isTerminal, JobState } from "@millrace/protocol";
import { CompiledQuery, type Kysely } from "kysely";
import {
  byteaArray,
  int4Array,
  int8Array,
  jsonbArray,
  storableJson,
  textArray,
  timestampArray,
} from "../binary-array.ts";
import type { DoubleMessage, JobPatch } from "../job-patch.ts";
import type { JobDouble, Schema } from "../schema.ts";
import { advanceCursor, type CursorStep } from "./advance-cursor.ts";

/** Rows of one statement: beyond a few thousand nothing is gained, and its arrays only take memory. */
const rowsPerStatement = 2500;

const columns: readonly (readonly [name: string, type: string, encode: (patches: readonly JobPatch[]) => Buffer])[] = [
  ["id", "text", (p) => textArray(p.map((x) => x.id))],
  ["queue", "text", (p) => textArray(p.map((x) => x.queue))],
  ["type", "text", (p) => textArray(p.map((x) => x.type))],
  ["priority", "int4", (p) => int4Array(p.map((x) => x.priority))],
  ["state", "int4", (p) => int4Array(p.map((x) => x.state))],
  ["attempt", "int4", (p) => int4Array(p.map((x) => x.attempt))],
  ["max_attempts", "int4", (p) => int4Array(p.map((x) => x.maxAttempts || null))],
  ["version", "int8", (p) => int8Array(p.map((x) => x.version))],
  ["payload", "bytea", (p) => byteaArray(p.map((x) => x.submission?.payload))],
  ["content_type", "text", (p) => textArray(p.map((x) => x.submission?.contentType))],
  ["headers", "jsonb", (p) => jsonbArray(p.map((x) => headersJson(x)))],
  ["raw_headers", "text", (p) => textArray(p.map((x) => x.submission?.rawHeaders))],
  // Tags hold no comma, so one text stands for a list: unnest would flatten arrays of arrays.
  ["tags", "text", (p) => textArray(p.map((x) => x.submission?.tags.join(",") || null))],
  ["correlation_id", "text", (p) => textArray(p.map((x) => x.submission?.correlationId || null))],
  ["unique_key", "text", (p) => textArray(p.map((x) => x.submission?.uniqueKey || null))],
  ["traceparent", "text", (p) => textArray(p.map((x) => x.traceparent || null))],
  ["owner", "text", (p) => textArray(p.map((x) => x.submission?.owner))],
  ["reply_to", "text", (p) => textArray(p.map((x) => x.submission?.replyTo || null))],
  ["submitted_at", "timestamptz", (p) => timestampArray(p.map((x) => x.submittedAtMs))],
  ["run_at", "timestamptz", (p) => timestampArray(p.map((x) => x.runAtMs || null))],
  ["stream", "text", (p) => textArray(p.map((x) => x.place?.stream))],
  ["stream_seq", "int8", (p) => int8Array(p.map((x) => x.place?.seq))],
  ["stream_version", "int8", (p) => int8Array(p.map((x) => x.place?.version ?? -1))],
  ["first_stream", "text", (p) => textArray(p.map((x) => x.first?.stream))],
  ["first_seq", "int8", (p) => int8Array(p.map((x) => x.first?.seq))],
  ["worker", "text", (p) => textArray(p.map((x) => x.worker || null))],
  ["started_at", "timestamptz", (p) => timestampArray(p.map((x) => x.startedAtMs || null))],
  ["finished_at", "timestamptz", (p) => timestampArray(p.map((x) => x.finishedAtMs || null))],
  ["run_us", "int8", (p) => int8Array(p.map((x) => (x.startedAtMs > 0 ? Math.round(x.runUs) : null)))],
  ["result", "bytea", (p) => byteaArray(p.map((x) => x.result))],
  ["result_content_type", "text", (p) => textArray(p.map((x) => x.resultContentType || null))],
  ["wait_reason", "text", (p) => textArray(p.map((x) => x.waitReason || null))],
  ["errors", "jsonb", (p) => jsonbArray(p.map((x) => (x.failures.length === 0 ? null : storableJson(x.failures))))],
  ["cancel_requested_at", "timestamptz", (p) => timestampArray(p.map((x) => x.cancelRequestedAtMs || null))],
  ["plugin", "text", (p) => textArray(p.map((x) => x.plugin || null))],
  ["fuel", "int8", (p) => int8Array(p.map((x) => (x.plugin ? Math.round(x.fuel ?? 0) : null)))],
  ["due_at", "timestamptz", (p) => timestampArray(p.map((x) => x.dueAtMs || null))],
  ["event_seq", "int8", (p) => int8Array(p.map((x) => x.eventSeq))],
  ["event_index", "int4", (p) => int4Array(p.map((x) => x.eventIndex))],
  ["updated_at", "timestamptz", (p) => timestampArray(p.map((x) => x.updatedAtMs))],
];

// Taken together, when the patch supersedes the row.
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
  "plugin",
  "fuel",
  "due_at",
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
  "owner",
  "reply_to",
];
const namesOf = (of: typeof columns): string => of.map(([name]) => name).join(", ");
const names = namesOf(columns);
// A row is its first job's: one of another queue or type that goes by the same id writes nothing into it.
const isSameJob = (as: string): string => `${as}.queue = jobs.queue AND ${as}.type = jobs.type`;
const terminal = [JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED]
  .filter(isTerminal)
  .join(", ");
/** `supersedes` of the protocol. A version holds the run above its 40th bit, and is -1 where nothing tells of a state. */
const supersedes = (next: string): string => `(${next}.version >= 0 AND (${next}.version >> 40 > jobs.version >> 40
    OR (${next}.version >> 40 = jobs.version >> 40 AND jobs.state NOT IN (${terminal})
      AND (${next}.state IN (${terminal}) OR ${next}.version > jobs.version))))`;
const ahead = supersedes("excluded");
/** Another message by which the same run would have come in. */
const otherFirst = (next: string): string => `coalesce(${next}.version >> 40 = jobs.version >> 40
    AND (${next}.first_stream, ${next}.first_seq) <> (jobs.first_stream, jobs.first_seq), false)`;
/** Another message at the same place in the job's life, or of another priority: a job keeps its own in all its attempts. */
const otherPlace = (next: string): string => `coalesce(${next}.stream_version = jobs.stream_version
    AND (${next}.stream, ${next}.stream_seq) <> (jobs.stream, jobs.stream_seq)
    OR ${next}.stream IS NOT NULL AND jobs.stream IS NOT NULL AND ${next}.priority <> jobs.priority
    AND ${next}.priority > 0 AND jobs.priority > 0, false)`;
const double = (next: string): string => `(${otherFirst(next)} OR ${otherPlace(next)})`;
/** The row's run has ended: what else is told of it says nothing. */
const over = `(jobs.state IN (${terminal}) AND excluded.version >> 40 <= jobs.version >> 40)`;
const placeAhead = "excluded.stream_version > jobs.stream_version";
/** Hours after which the id of a job that has ended is free for another message of the same owner. */
const idHours = 24;
/** A message that makes the row its own: the job that had the id is over, and long past. */
const renews = (next: string): string => `coalesce(${next}.first_seq IS NOT NULL AND jobs.state IN (${terminal})
    AND ${next}.version >> 40 <= jobs.version >> 40
    AND ${next}.submitted_at >= jobs.submitted_at + interval '${idHours} hours'
    AND ${next}.owner IS NOT DISTINCT FROM jobs.owner, false)`;
/** The same: it came in before the one that the row knows, whose end has not been told, or of which only events have. */
const precedes = (next: string): string => `(${double(next)} AND coalesce(${next}.first_seq IS NOT NULL
    AND ${next}.submitted_at < jobs.submitted_at
    AND ${next}.submitted_at > jobs.submitted_at - interval '${idHours} hours' AND (jobs.first_seq IS NULL OR jobs.state NOT IN (${terminal})), false))`;

const addDelta = `INSERT INTO queue_stats (queue, state, priority, count) SELECT queue, state, priority, n FROM delta
  ON CONFLICT (queue, state, priority) DO UPDATE SET count = queue_stats.count + excluded.count`;

// What owners have queued is counted from the same rows; those of nobody, most of them, are passed over.
const isOpen = `IN (${[JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING].join(", ")})`;
const ownedBytes = (of = "") =>
  `CASE WHEN ${of}owner IS NULL THEN 0 ELSE coalesce(octet_length(${of}payload), 0) END AS bytes`;
const addOwned = `INSERT INTO owner_stats (owner, jobs, bytes) SELECT owner, jobs, bytes FROM owned
  ON CONFLICT (owner) DO UPDATE SET jobs = owner_stats.jobs + excluded.jobs, bytes = owner_stats.bytes + excluded.bytes`;

function input(of: readonly (typeof columns)[number][]): string {
  const arrays = of.map(([, type], i) => `$${i + 1}::${type}[]`).join(", ");
  return `input AS (SELECT * FROM unnest(${arrays}) AS t (${namesOf(of)}))`;
}

const valuesOf = (of: typeof columns): string => namesOf(of).replace(/\btags\b/, "string_to_array(tags, ',')");

// Three statements, from the cheap and common to the one that can do all. The first two answer with the ids that they
// left alone. All parts of one statement see the table as it was before it.

/** Rows that are not there yet: nothing to merge with, and no old row to count off. */
const ownerlessColumns = columns.filter(([name]) => name !== "owner");
const insertStatement = insertOf(ownerlessColumns, "", "");
/** The same where some have an owner. */
const insertOwnedStatement = insertOf(
  columns,
  `, owner, ${ownedBytes()}`,
  `, owned AS (
  SELECT owner, count(*) AS jobs, sum(bytes) AS bytes FROM changed
  WHERE owner IS NOT NULL AND state ${isOpen} GROUP BY owner
), held AS (
  ${addOwned}
)`,
);

function insertOf(of: typeof columns, returned: string, counted: string): string {
  return `
WITH ${input(of)}, changed AS (
  INSERT INTO jobs (${namesOf(of)}) SELECT ${valuesOf(of)} FROM input ON CONFLICT (id) DO NOTHING
  RETURNING id, queue, state, priority${returned}
), delta AS (
  SELECT queue, state, priority, count(*) AS n FROM changed GROUP BY queue, state, priority
), counted AS (
  ${addDelta}
)${counted}
SELECT id FROM input WHERE id NOT IN (SELECT id FROM changed)`;
}

const placeColumns = ["stream", "stream_seq", "stream_version"];
const onwardNames = new Set([
  "id",
  "queue",
  "type",
  ...stateColumns,
  ...placeColumns,
  "priority",
  "submitted_at",
  "max_attempts",
  "traceparent",
]);
const onwardColumns = columns.filter(([name]) => onwardNames.has(name));

/** Rows that are there and go on to another state, by patches that carry little else: see isOnward. */
const onwardStatement = `
WITH ${input(onwardColumns)}, changed AS (
  UPDATE jobs SET
    ${stateColumns.map((c) => `${c} = input.${c}`).join(", ")},
    submitted_at = least(jobs.submitted_at, input.submitted_at),
    max_attempts = greatest(jobs.max_attempts, input.max_attempts),
    traceparent = coalesce(jobs.traceparent, input.traceparent)
  FROM input JOIN jobs AS old ON old.id = input.id
  WHERE jobs.id = input.id AND ${supersedes("input")} AND ${isSameJob("input")} AND NOT ${otherPlace("input")}
  RETURNING jobs.id, jobs.queue, jobs.state, jobs.priority, old.state AS old_state, jobs.owner,
    ${ownedBytes("jobs.")}
), delta AS (
  SELECT queue, state, priority, sum(n) AS n FROM (
    SELECT queue, state, priority, count(*) AS n FROM changed GROUP BY queue, state, priority
    UNION ALL
    SELECT queue, old_state, priority, -count(*) FROM changed GROUP BY queue, old_state, priority
  ) AS moves GROUP BY queue, state, priority HAVING sum(n) <> 0
), counted AS (
  ${addDelta}
), owned AS (
  SELECT owner, sum(n) AS jobs, sum(n * bytes) AS bytes FROM (
    SELECT owner, bytes, (state ${isOpen})::int - (old_state ${isOpen})::int AS n FROM changed WHERE owner IS NOT NULL
  ) AS moves WHERE n <> 0 GROUP BY owner
), held AS (
  ${addOwned}
)
SELECT id FROM input WHERE id NOT IN (SELECT id FROM changed)`;

/**
 * Any patch on any row. `before` is the old row of each one. Answers with the ids that were not taken for what they are: another
 * job's, a second message of the same place in the job's life, or one that makes the row its own.
 */
const mergeStatement = `
WITH ${input(columns)}, before AS (
  SELECT id, queue, type, state, priority, owner, version, stream, stream_seq, stream_version, first_stream, first_seq,
    submitted_at, ${ownedBytes()}
  FROM jobs WHERE id = ANY ($1::text[])
), changed AS (
  INSERT INTO jobs (${names})
  SELECT ${valuesOf(columns)} FROM input
  ON CONFLICT (id) DO UPDATE SET
    ${stateColumns.map((c) => `${c} = CASE WHEN ${ahead} THEN excluded.${c} ELSE jobs.${c} END`).join(",\n    ")},
    ${onceColumns.map((c) => `${c} = coalesce(jobs.${c}, excluded.${c})`).join(",\n    ")},
    ${placeColumns.map((c) => `${c} = CASE WHEN ${placeAhead} THEN excluded.${c} ELSE jobs.${c} END`).join(",\n    ")},
    ${["first_stream", "first_seq"]
      .map(
        (c) => `${c} = CASE WHEN excluded.${c} IS NULL THEN jobs.${c}
        WHEN jobs.${c} IS NULL OR excluded.version >> 40 > jobs.version >> 40 THEN excluded.${c} ELSE jobs.${c} END`,
      )
      .join(",\n    ")},
    submitted_at = least(jobs.submitted_at, excluded.submitted_at),
    max_attempts = greatest(jobs.max_attempts, excluded.max_attempts),
    run_at = greatest(jobs.run_at, excluded.run_at),
    cancel_requested_at = least(jobs.cancel_requested_at, excluded.cancel_requested_at),
    errors = CASE WHEN excluded.errors IS NULL OR ${over} THEN jobs.errors
      ELSE merge_job_errors(jobs.errors, excluded.errors) END
  WHERE ${isSameJob("excluded")} AND NOT ${double("excluded")} AND NOT ${renews("excluded")} AND (${ahead} OR ${placeAhead}
    OR (jobs.payload IS NULL AND excluded.payload IS NOT NULL)
    OR (jobs.traceparent IS NULL AND excluded.traceparent IS NOT NULL)
    OR (jobs.first_seq IS NULL AND excluded.first_seq IS NOT NULL)
    OR excluded.submitted_at < jobs.submitted_at
    OR excluded.max_attempts > coalesce(jobs.max_attempts, 0)
    OR excluded.run_at > coalesce(jobs.run_at, '-infinity')
    OR excluded.cancel_requested_at < coalesce(jobs.cancel_requested_at, 'infinity')
    OR (excluded.errors IS NOT NULL AND NOT ${over}))
  RETURNING id, queue, state, priority, owner, ${ownedBytes()}
), delta AS (
  SELECT queue, state, priority, sum(n) AS n FROM (
    SELECT queue, state, priority, 1 AS n FROM changed
    UNION ALL
    SELECT b.queue, b.state, b.priority, -1 FROM before b JOIN changed c ON c.id = b.id
  ) AS moves GROUP BY queue, state, priority HAVING sum(n) <> 0
), owned AS (
  SELECT owner, sum(n) AS jobs, sum(n * bytes) AS bytes FROM (
    SELECT owner, bytes, 1 AS n FROM changed WHERE owner IS NOT NULL AND state ${isOpen}
    UNION ALL
    SELECT b.owner, b.bytes, -1 FROM before b JOIN changed c ON c.id = b.id
      WHERE b.owner IS NOT NULL AND b.state ${isOpen}
  ) AS moves GROUP BY owner
), held AS (
  ${addOwned}
), counted AS (
  ${addDelta}
)
SELECT input.id, NOT (${isSameJob("input")}) AS stranger, ${otherFirst("input")} AS other_first, ${renews("input")} AS renews,
  ${precedes("input")} AS precedes, coalesce(jobs.first_stream, jobs.stream) AS was_stream,
  coalesce(jobs.first_seq, jobs.stream_seq)::float8 AS was_seq, extract(epoch FROM jobs.submitted_at)::float8 * 1000 AS was_at_ms
FROM input JOIN before AS jobs ON jobs.id = input.id
WHERE NOT (${isSameJob("input")}) OR ${double("input")} OR ${renews("input")}`;

/** Rows whose ids are another message's. */
const forgetStatement = `
WITH gone AS (
  DELETE FROM jobs WHERE id = ANY ($1::text[]) RETURNING queue, state, priority, owner, ${ownedBytes()}
), delta AS (
  SELECT queue, state, priority, -count(*) AS n FROM gone GROUP BY queue, state, priority
), owned AS (
  SELECT owner, -count(*) AS jobs, -sum(bytes) AS bytes FROM gone
  WHERE owner IS NOT NULL AND state ${isOpen} GROUP BY owner
), held AS (
  ${addOwned}
)
${addDelta}`;

/** Later messages under an id, on its row; the newest 20. */
const noteDoubles = `
UPDATE jobs SET duplicates = (
  SELECT jsonb_agg(item ORDER BY at_ms) FROM (
    SELECT item, (item ->> 'atMs')::bigint AS at_ms FROM (
      SELECT DISTINCT ON (value ->> 'place') value AS item
      FROM jsonb_array_elements(coalesce(jobs.duplicates, '[]'::jsonb) || t.added) ORDER BY value ->> 'place'
    ) AS each_once ORDER BY at_ms DESC LIMIT 20
  ) AS newest
)
FROM (
  SELECT id, jsonb_agg(double) AS added FROM unnest($1::text[], $2::jsonb[]) AS d (id, double) GROUP BY id
) AS t
WHERE jobs.id = t.id`;

export interface Applied {
  /** Not written, as the id is another job's. */
  readonly strangers: readonly JobPatch[];
  /** Messages that name a job which came in before by another one: they are noted on its row, and must not run. */
  readonly doubles: readonly DoubleMessage[];
}

/**
 * Writes what a run of messages changed, together with the cursors that say so. Patches that a row has seen change nothing.
 * @param patches one for each job; those of jobs that share an id in the order in which they came
 * @param known messages that the reader itself has found to name a job that came in before
 * @throws MillraceError `aborted` when another projector moved a cursor, `unavailable` when the database is away
 */
export async function applyEvents(
  db: Kysely<Schema>,
  patches: readonly JobPatch[],
  step: CursorStep,
  known: readonly DoubleMessage[] = [],
): Promise<Applied> {
  return db.transaction().execute(async (transaction) => {
    await transaction.executeQuery(CompiledQuery.raw(settings));
    await advanceCursor(transaction, step);
    const strangers: JobPatch[] = [];
    const doubles: DoubleMessage[] = [...known];
    for (let left = patches; left.length > 0;) {
      const first = new Map<string, JobPatch>();
      const others: JobPatch[] = [];
      for (const patch of left) {
        if (first.has(patch.id)) others.push(patch);
        else first.set(patch.id, patch);
      }
      const written = await write(transaction, [...first.values()]);
      strangers.push(...written.strangers);
      doubles.push(...written.doubles);
      left = others;
    }
    if (doubles.length > 0) {
      const items = doubles.map(({ stream, seq, atMs }) =>
        storableJson({ place: `${stream}/${seq}`, atMs, mayHaveRun: true } satisfies JobDouble),
      );
      const values = [textArray(doubles.map(({ id }) => id)), jsonbArray(items)];
      await transaction.executeQuery(CompiledQuery.raw(noteDoubles, values));
    }
    return { strangers, doubles };
  });
}

/** The ids are distinct. */
async function write(transaction: Kysely<Schema>, patches: readonly JobPatch[]): Promise<Applied> {
  const onward: JobPatch[] = [];
  const arriving: JobPatch[] = [];
  for (const patch of patches) (isOnward(patch) ? onward : arriving).push(patch);
  // What is not there yet is inserted; what is there by now is merged.
  const left = await run(transaction, onwardStatement, onwardColumns, onward);
  arriving.push(...left.map(({ patch }) => patch));
  const isOwned = arriving.some(({ submission }) => submission?.owner !== undefined);
  const known = isOwned
    ? await run(transaction, insertOwnedStatement, columns, arriving)
    : await run(transaction, insertStatement, ownerlessColumns, arriving);
  const strangers: JobPatch[] = [];
  const doubles: DoubleMessage[] = [];
  const told: JobPatch[] = [];
  const begun: JobPatch[] = [];
  const merged = known.map(({ patch }) => patch);
  const refused = await run(transaction, mergeStatement, columns, merged);
  for (const { patch, stranger, otherFirst: isOtherFirst, renews: isAnew, precedes: isEarlier, was } of refused) {
    const { id, submittedAtMs } = patch;
    const place = isOtherFirst ? patch.first : patch.place;
    if (stranger || place === undefined) strangers.push(patch);
    else if (isAnew || isEarlier) {
      begun.push(patch);
      if (isEarlier) doubles.push({ id, ...was });
    } else {
      doubles.push({ id, stream: place.stream, seq: place.seq, atMs: submittedAtMs });
      if (patch.eventSeq > 0 && !patch.ofMessage)
        told.push({ ...patch, place: undefined, first: undefined, submission: undefined });
    }
  }
  await run(transaction, mergeStatement, columns, told);
  if (begun.length > 0) {
    await transaction.executeQuery(CompiledQuery.raw(forgetStatement, [textArray(begun.map(({ id }) => id))]));
    await run(transaction, insertOwnedStatement, columns, begun);
  }
  return { strangers, doubles };
}

// The cursor goes with the rows: what a crash of the server takes back is read again from EVENTS. Rows are looked up by
// their id, whatever the statistics of a table that grew a moment ago say, and no plan is worth compiling.
const settings =
  "SELECT set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)";

/** Whether the patch, once ahead of its row, changes no more than onwardStatement writes. */
function isOnward(patch: JobPatch): boolean {
  return (
    patch.version >= 0 &&
    patch.submission === undefined &&
    patch.failures.length === 0 &&
    patch.runAtMs === 0 &&
    patch.cancelRequestedAtMs === 0 &&
    patch.dueAtMs === 0
  );
}

interface Left {
  readonly patch: JobPatch;
  readonly stranger: boolean;
  readonly otherFirst: boolean;
  readonly renews: boolean;
  readonly precedes: boolean;
  /** Where the row's own message lies, and when it came in. */
  readonly was: Pick<DoubleMessage, "stream" | "seq" | "atMs">;
}

interface LeftRow {
  readonly id: string;
  readonly stranger?: boolean;
  readonly other_first?: boolean;
  readonly renews?: boolean;
  readonly precedes?: boolean;
  readonly was_stream?: string | null;
  readonly was_seq?: number | null;
  readonly was_at_ms?: number | null;
}

/** @returns the patches that the statement left alone */
async function run(
  db: Kysely<Schema>,
  statement: string,
  of: typeof columns,
  patches: readonly JobPatch[],
): Promise<Left[]> {
  const left: Left[] = [];
  const write = async (part: readonly JobPatch[], values: readonly Buffer[]): Promise<void> => {
    const { rows } = await db.executeQuery<LeftRow>(CompiledQuery.raw(statement, [...values]));
    if (rows.length === 0) return;
    const found = new Map(rows.map((row) => [row.id, row]));
    for (const patch of part) {
      const row = found.get(patch.id);
      if (row === undefined) continue;
      left.push({
        patch,
        stranger: row.stranger ?? true,
        otherFirst: row.other_first ?? false,
        renews: row.renews ?? false,
        precedes: row.precedes ?? false,
        was: { stream: row.was_stream ?? "", seq: row.was_seq ?? 0, atMs: row.was_at_ms ?? 0 },
      });
    }
  };
  // The database works on one statement while the next one is encoded.
  let writing = Promise.resolve();
  for (let from = 0; from < patches.length; from += rowsPerStatement) {
    const part = patches.slice(from, from + rowsPerStatement);
    const values = of.map(([, , encode]) => encode(part));
    await writing;
    writing = write(part, values);
    writing.catch(() => undefined);
    // Lets the statement leave before the next turn of encoding.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writing;
  return left;
}

function headersJson(patch: JobPatch): string | null {
  const headers = patch.submission?.headers;
  if (headers === undefined) return null;
  for (const _ in headers) return storableJson(headers);
  return "{}";
}
