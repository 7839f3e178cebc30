-- Jobs that wait for their time: written before the message in SCHEDULE is acked, deleted after the publish to jobs.….
CREATE TABLE schedules (
  id text COLLATE "C" PRIMARY KEY,
  attempt integer NOT NULL,
  -- A scheduler that takes a row moves this ahead by its lease: when it dies, the row is due again.
  due_at timestamptz NOT NULL,
  -- Where to publish: jobs.<priority>.<queue>.<type>.<id>.
  subject text NOT NULL,
  payload bytea NOT NULL,
  -- {name: [value, …]}
  headers jsonb NOT NULL
);

CREATE INDEX schedules_by_due ON schedules (due_at);
