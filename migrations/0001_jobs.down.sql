DROP FUNCTION merge_job_errors(jsonb, jsonb);
DROP TABLE projection_cursor;
DROP TABLE queue_stats;
DROP TABLE jobs;
