DROP TABLE owner_stats;
ALTER TABLE jobs DROP COLUMN owner;
