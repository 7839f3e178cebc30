-- Where the trail begins: the last entry that was pruned for its age, and its hash, which the entry after it covers.
ALTER TABLE audit_head
  ADD COLUMN pruned_seq bigint NOT NULL DEFAULT 0,
  ADD COLUMN pruned_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex');

-- A slip of a statement must still not pass: pruning says in its transaction that it means it.
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('millrace.prune_audit', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'the audit trail is only appended to';
END $$;
