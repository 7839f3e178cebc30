-- The read model: one row per job, built from events by the projector. Every column can be rebuilt from EVENTS.
-- state and priority hold the numbers of millrace.jobs.v1.JobState and Priority.
CREATE TABLE jobs (
  id text COLLATE "C" PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  priority smallint NOT NULL,
  state smallint NOT NULL,
  attempt integer NOT NULL,
  max_attempts integer,
  -- attempt * 16 + 2 * rank of the state (+ 1 when parked): a state is taken only when this grows.
  version integer NOT NULL,
  payload bytea,
  content_type text,
  -- What the publisher sent, by header name; without what differs from one attempt to the next.
  headers jsonb,
  -- Of a job that could not be read: its headers as they came.
  raw_headers text,
  tags text[],
  correlation_id text,
  unique_key text,
  traceparent text,
  submitted_at timestamptz NOT NULL,
  run_at timestamptz,
  -- Where the newest copy of the job lies, and the version it came with; for cancelling what waits.
  stream text,
  stream_seq bigint,
  stream_version integer NOT NULL DEFAULT -1,
  worker text,
  started_at timestamptz,
  finished_at timestamptz,
  run_us bigint,
  result bytea,
  result_content_type text,
  wait_reason text,
  -- [{attempt, code, message, retryable, atMs}], oldest first, the newest 20.
  errors jsonb,
  cancel_requested_at timestamptz,
  -- The event that brought the row into its state; a watcher goes on from there.
  event_seq bigint NOT NULL,
  event_index integer NOT NULL,
  updated_at timestamptz NOT NULL
)
-- Room on the page for one update of each row, as most jobs see exactly one.
WITH (fillfactor = 85);

-- Each index costs every write, so each one here answers a filter of ListJobs. They ascend, as rows arrive: appending to
-- the last page is what a btree does best. The id, which orders jobs of one instant, is sorted while reading.
CREATE INDEX jobs_by_time ON jobs (submitted_at);
CREATE INDEX jobs_by_queue ON jobs (queue, submitted_at);
CREATE INDEX jobs_by_type ON jobs (type, submitted_at);
-- Of the states all but "succeeded" (5) are few, and are what people look for.
CREATE INDEX jobs_by_state ON jobs (state, submitted_at) WHERE state <> 5;
CREATE INDEX jobs_by_tag ON jobs USING gin (tags) WHERE tags IS NOT NULL;
CREATE INDEX jobs_by_correlation ON jobs (correlation_id) WHERE correlation_id IS NOT NULL;

-- Counts, kept by the projector in the transaction of the rows they count: no count(*) over millions.
CREATE TABLE queue_stats (
  queue text COLLATE "C" NOT NULL,
  state smallint NOT NULL,
  priority smallint NOT NULL,
  count bigint NOT NULL,
  PRIMARY KEY (queue, state, priority)
)
WITH (fillfactor = 50);

-- How far a projection has read its stream. Another creation time is another stream: begin at its start.
CREATE TABLE projection_cursor (
  name text PRIMARY KEY,
  seq bigint NOT NULL,
  stream_created_ms bigint NOT NULL
);

-- Two lists of failures as one: by attempt (what is known of an attempt stays), oldest first, the newest 20.
CREATE FUNCTION merge_job_errors(known jsonb, added jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_agg(item ORDER BY attempt) FROM (
    SELECT item, attempt FROM (
      SELECT DISTINCT ON (attempt) item, attempt FROM (
        SELECT value AS item, (value ->> 'attempt')::integer AS attempt, 0 AS age
          FROM jsonb_array_elements(coalesce(known, '[]'::jsonb))
        UNION ALL
        SELECT value, (value ->> 'attempt')::integer, 1 FROM jsonb_array_elements(coalesce(added, '[]'::jsonb))
      ) AS both_lists ORDER BY attempt, age
    ) AS one_each ORDER BY attempt DESC LIMIT 20
  ) AS newest
$$;
