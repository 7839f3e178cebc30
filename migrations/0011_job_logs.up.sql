-- The projector reads the job logs themselves, each with a cursor of its own, and a job that waits for its time is a row like any other.

-- A version is run * 2^40 + attempt * 2^20 + move * 2^4 + (2 * rank of the state, + 1 when parked). Rows so far are of their first run.
ALTER TABLE jobs
  ALTER COLUMN version TYPE bigint
    USING CASE WHEN version < 0 THEN -1 ELSE (1::bigint << 40) + ((version >> 4)::bigint << 20) + (version & 15) END,
  ALTER COLUMN stream_version TYPE bigint
    USING CASE WHEN stream_version < 0 THEN -1
      ELSE (1::bigint << 40) + ((stream_version >> 4)::bigint << 20) + (stream_version & 15) END,
  -- When a job in state SCHEDULED is to be published; the scheduler that takes it moves this ahead by its lease.
  ADD COLUMN due_at timestamptz,
  -- Where the worker sends the result, for a job that is published from its row.
  ADD COLUMN reply_to text,
  -- Where the message lay by which the run came in: another one that says the same is no job of its own.
  ADD COLUMN first_stream text,
  ADD COLUMN first_seq bigint,
  -- [{place, atMs, mayHaveRun}], later messages under the same id, oldest first, the newest 20.
  ADD COLUMN duplicates jsonb;

CREATE INDEX jobs_by_due ON jobs (due_at) WHERE due_at IS NOT NULL;
-- States from SCHEDULED to RETRYING: what holds a log back, and what a repair looks at.
CREATE INDEX jobs_unfinished ON jobs (stream, stream_seq) WHERE state IN (1, 2, 3, 4);

-- Jobs that waited in a table of their own. The subject is jobs.<priority>.<queue>.<type>.<id>.
INSERT INTO jobs (id, queue, type, priority, state, attempt, version, payload, headers, submitted_at, run_at, event_seq,
  event_index, updated_at)
SELECT id, split_part(subject, '.', 3), split_part(subject, '.', 4),
  CASE split_part(subject, '.', 2) WHEN 'critical' THEN 1 WHEN 'high' THEN 2 WHEN 'normal' THEN 3 ELSE 4 END,
  1, attempt, (1::bigint << 40) + (attempt::bigint << 20), payload,
  (SELECT coalesce(jsonb_object_agg(key, value -> 0), '{}'::jsonb) FROM jsonb_each(headers)
    WHERE key NOT IN ('Millrace-Attempt', 'Millrace-Run-At', 'Millrace-Reply-To', 'traceparent') AND key NOT LIKE 'Nats-%'),
  due_at, due_at, 0, 0, now()
FROM schedules ON CONFLICT (id) DO NOTHING;

UPDATE jobs SET state = 1, attempt = s.attempt, version = (1::bigint << 40) + (s.attempt::bigint << 20), due_at = s.due_at,
  run_at = s.due_at, reply_to = s.headers -> 'Millrace-Reply-To' ->> 0,
  max_attempts = greatest(jobs.max_attempts, (s.headers -> 'Millrace-Max-Attempts' ->> 0)::integer),
  traceparent = coalesce(jobs.traceparent, s.headers -> 'traceparent' ->> 0),
  content_type = coalesce(jobs.content_type, s.headers -> 'Millrace-Content-Type' ->> 0),
  unique_key = coalesce(jobs.unique_key, s.headers -> 'Millrace-Unique-Key' ->> 0),
  correlation_id = coalesce(jobs.correlation_id, s.headers -> 'Millrace-Correlation-Id' ->> 0),
  stream = NULL, stream_seq = NULL
FROM schedules AS s
WHERE s.id = jobs.id AND jobs.version <= (1::bigint << 40) + (s.attempt::bigint << 20) AND jobs.state IN (1, 2, 3, 4);

DROP TABLE schedules;

DELETE FROM queue_stats;
INSERT INTO queue_stats (queue, state, priority, count)
  SELECT queue, state, priority, count(*) FROM jobs GROUP BY queue, state, priority;

-- One cursor for each log. at_ms is the broker's time of the message at the cursor: a broker that lost its newest messages gives
-- their numbers to others. Everything up to flushed_seq survives a crash of the database. announced_seq is how far a log was announced.
ALTER TABLE projection_cursor DROP CONSTRAINT projection_cursor_pkey;
ALTER TABLE projection_cursor
  ADD COLUMN log text NOT NULL DEFAULT 'EVENTS',
  ADD COLUMN at_ms bigint NOT NULL DEFAULT 0,
  ADD COLUMN flushed_seq bigint NOT NULL DEFAULT 0,
  ADD COLUMN announced_seq bigint NOT NULL DEFAULT 0,
  ADD PRIMARY KEY (name, log);
ALTER TABLE projection_cursor ALTER COLUMN log DROP DEFAULT;

-- As before, but for the run: attempts are counted within it. A failure without one is of the first.
CREATE OR REPLACE FUNCTION merge_job_errors(known jsonb, added jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_agg(item ORDER BY run, attempt) FROM (
    SELECT item, run, attempt FROM (
      SELECT DISTINCT ON (run, attempt) item, run, attempt FROM (
        SELECT value AS item, coalesce((value ->> 'run')::integer, 1) AS run, (value ->> 'attempt')::integer AS attempt, 0 AS age
          FROM jsonb_array_elements(coalesce(known, '[]'::jsonb))
        UNION ALL
        SELECT value, coalesce((value ->> 'run')::integer, 1), (value ->> 'attempt')::integer, 1
          FROM jsonb_array_elements(coalesce(added, '[]'::jsonb))
      ) AS both_lists ORDER BY run, attempt, age
    ) AS one_each ORDER BY run DESC, attempt DESC LIMIT 20
  ) AS newest
$$;
