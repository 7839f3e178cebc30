-- The user who submitted a job through a gateway; null for what came over NATS.
ALTER TABLE jobs ADD COLUMN owner text COLLATE "C";
CREATE INDEX jobs_by_owner ON jobs (owner, submitted_at) WHERE owner IS NOT NULL;

-- Unfinished jobs of each owner and the bytes of their payloads, kept by the projector in the transaction of the rows.
CREATE TABLE owner_stats (
  owner text COLLATE "C" PRIMARY KEY,
  jobs bigint NOT NULL,
  bytes bigint NOT NULL
)
WITH (fillfactor = 50);
