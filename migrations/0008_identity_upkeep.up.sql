-- When the user last asked for a new password, until it is set.
ALTER TABLE users ADD COLUMN reset_asked_at timestamptz;

-- Those that are new are read by every identity.
CREATE INDEX api_tokens_by_time ON api_tokens (created_at);

-- Identities at work: each grants its share of the rate limits.
CREATE TABLE identity_members (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  seen_at timestamptz NOT NULL
);
