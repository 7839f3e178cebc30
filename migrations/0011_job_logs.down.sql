-- Runs after the first, and publishes within an attempt, have no place in the former version: their rows keep the attempt.
CREATE TABLE schedules (
  id text COLLATE "C" PRIMARY KEY,
  attempt integer NOT NULL,
  due_at timestamptz NOT NULL,
  subject text NOT NULL,
  payload bytea NOT NULL,
  headers jsonb NOT NULL
);
CREATE INDEX schedules_by_due ON schedules (due_at);
INSERT INTO schedules (id, attempt, due_at, subject, payload, headers)
SELECT id, attempt, due_at,
  'jobs.' || (ARRAY['critical', 'high', 'normal', 'low'])[greatest(1, priority)] || '.' || queue || '.' || type || '.' || id,
  coalesce(payload, ''::bytea),
  (SELECT coalesce(jsonb_object_agg(key, jsonb_build_array(value)), '{}'::jsonb) FROM jsonb_each(coalesce(headers, '{}'::jsonb)))
    || jsonb_build_object('Millrace-Attempt', jsonb_build_array(attempt::text))
FROM jobs WHERE state = 1 AND due_at IS NOT NULL;

DELETE FROM projection_cursor WHERE log <> 'EVENTS';
ALTER TABLE projection_cursor DROP CONSTRAINT projection_cursor_pkey;
ALTER TABLE projection_cursor
  DROP COLUMN log, DROP COLUMN at_ms, DROP COLUMN flushed_seq, DROP COLUMN announced_seq, ADD PRIMARY KEY (name);

DROP INDEX jobs_unfinished;
DROP INDEX jobs_by_due;
ALTER TABLE jobs
  DROP COLUMN due_at, DROP COLUMN reply_to, DROP COLUMN duplicates, DROP COLUMN first_stream, DROP COLUMN first_seq,
  ALTER COLUMN version TYPE integer
    USING CASE WHEN version < 0 THEN -1 ELSE (((version >> 20) & 1048575) * 16 + (version & 15))::integer END,
  ALTER COLUMN stream_version TYPE integer
    USING CASE WHEN stream_version < 0 THEN -1 ELSE (((stream_version >> 20) & 1048575) * 16 + (stream_version & 15))::integer END;

CREATE OR REPLACE FUNCTION merge_job_errors(known jsonb, added jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
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
