DROP TABLE identity_members;
DROP INDEX api_tokens_by_time;
ALTER TABLE users DROP COLUMN reset_asked_at;
