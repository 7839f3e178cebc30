import type { JobState } from "@millrace/protocol";
import pg from "pg";
import type { JobRow, JobRowError } from "./evidence.ts";

interface Row {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: number;
  readonly state: JobState;
  readonly attempt: number;
  readonly max_attempts: number | null;
  readonly payload: Buffer | null;
  readonly content_type: string | null;
  readonly headers: Record<string, string> | null;
  readonly tags: string[] | null;
  readonly correlation_id: string | null;
  readonly unique_key: string | null;
  readonly owner: string | null;
  readonly traceparent: string | null;
  readonly submitted_at: Date;
  readonly run_at: Date | null;
  readonly finished_at: Date | null;
  readonly stream: string | null;
  /** bigint, which the driver gives as text. */
  readonly stream_seq: string | null;
  readonly result: Buffer | null;
  readonly errors: JobRowError[] | null;
  /** bigint. */
  readonly version: string;
  readonly duplicates: { place: string; mayHaveRun: boolean }[] | null;
}

export interface DatabaseContents {
  readonly rows: readonly JobRow[];
  readonly ownerCounts: readonly { readonly owner: string; readonly jobs: number; readonly bytes: number }[];
}

/** How many rows there are, and how many of them have not ended. */
export interface Progress {
  readonly rows: number;
  readonly unfinished: number;
}

const terminalStates = "(5, 6, 7, 8)";

/** The read model past everything of Millrace's. */
export async function withDatabase<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A connection that breaks rejects the query that is under way, too.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export async function readProgress(client: pg.Client): Promise<Progress> {
  const { rows } = await client.query<{ all: string; unfinished: string }>(
    `SELECT count(*) AS all, count(*) FILTER (WHERE state NOT IN ${terminalStates}) AS unfinished FROM jobs`,
  );
  return { rows: Number(rows[0]?.all), unfinished: Number(rows[0]?.unfinished) };
}

export async function readDatabase(url: string): Promise<DatabaseContents> {
  return withDatabase(url, async (client) => {
    const { rows } = await client.query<Row>("SELECT * FROM jobs");
    const owners = await client.query<{ owner: string; jobs: string; bytes: string }>(
      "SELECT owner, jobs, bytes FROM owner_stats WHERE jobs <> 0 OR bytes <> 0",
    );
    return {
      rows: rows.map(toJobRow),
      ownerCounts: owners.rows.map(({ owner, jobs, bytes }) => ({ owner, jobs: Number(jobs), bytes: Number(bytes) })),
    };
  });
}

function toJobRow(row: Row): JobRow {
  // run * 2^40 + attempt * 2^20 + move * 2^4 + the state's rank, as the table's migration says it.
  const version = BigInt(row.version);
  return {
    id: row.id,
    queue: row.queue,
    type: row.type,
    priority: row.priority,
    state: row.state,
    attempt: row.attempt,
    maxAttempts: row.max_attempts ?? undefined,
    payload: row.payload ?? Buffer.alloc(0),
    contentType: row.content_type ?? "",
    headers: row.headers ?? {},
    tags: row.tags ?? [],
    correlationId: row.correlation_id ?? "",
    uniqueKey: row.unique_key ?? "",
    owner: row.owner ?? "",
    traceparent: row.traceparent ?? "",
    submittedMs: row.submitted_at.getTime(),
    runAtMs: row.run_at?.getTime() ?? 0,
    finishedMs: row.finished_at?.getTime() ?? 0,
    stream: row.stream ?? "",
    streamSeq: Number(row.stream_seq ?? 0),
    result: row.result ?? Buffer.alloc(0),
    errors: row.errors ?? [],
    run: Number(version >> 40n),
    moves: Number((version >> 4n) & 0xffffn),
    duplicates: (row.duplicates ?? []).map(({ place, mayHaveRun }) => ({ place, mayHaveRun })),
  };
}
