ALTER TABLE audit_head DROP COLUMN pruned_seq, DROP COLUMN pruned_hash;
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is only appended to';
END $$;
