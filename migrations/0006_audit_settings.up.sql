-- The audit trail: a chain in which each hash covers the entry and the hash before it. Nothing here is ever changed.
CREATE TABLE audit_entries (
  seq bigint PRIMARY KEY,
  id text NOT NULL UNIQUE,
  at timestamptz NOT NULL,
  user_id text NOT NULL,
  email text NOT NULL,
  token_id text NOT NULL,
  address text NOT NULL,
  door text NOT NULL,
  action text NOT NULL,
  object text NOT NULL,
  result text NOT NULL,
  request_id text NOT NULL,
  hash bytea NOT NULL
);
CREATE INDEX audit_entries_at ON audit_entries (at);
CREATE INDEX audit_entries_user ON audit_entries (user_id, seq);
CREATE INDEX audit_entries_action ON audit_entries (action text_pattern_ops, seq);
CREATE INDEX audit_entries_object ON audit_entries (object, seq) WHERE object <> '';

-- Its one row is the end of the chain, and the lock that appends wait for. announced_seq: told as events up to here.
CREATE TABLE audit_head (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  seq bigint NOT NULL DEFAULT 0,
  hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
  announced_seq bigint NOT NULL DEFAULT 0
);
INSERT INTO audit_head DEFAULT VALUES;

-- A slip of a statement must not pass. Who may drop the trigger is found by the chain.
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is only appended to';
END $$;
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- Settings that were changed while the system ran, and flags of features.
CREATE TABLE settings (
  name text PRIMARY KEY,
  value jsonb NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE TABLE flags (
  name text PRIMARY KEY,
  enabled boolean NOT NULL,
  percent integer NOT NULL CHECK (percent BETWEEN 0 AND 100),
  updated_at timestamptz NOT NULL
);
