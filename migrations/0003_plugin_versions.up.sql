-- Every upload of a plugin that was accepted. Which of them serves is told by the plugin's record on the broker.
CREATE TABLE plugin_versions (
  name text COLLATE "C" NOT NULL,
  version text COLLATE "C" NOT NULL,
  sha256 text COLLATE "C" NOT NULL,
  size_bytes bigint NOT NULL,
  -- millrace.plugins.v1.PluginManifest in protobuf's JSON.
  manifest jsonb NOT NULL,
  -- Of the signature; null when it is not signed.
  key_id text,
  signature bytea,
  -- Names of the capabilities that an operator has granted: http, kv, secrets, events, jobs.
  grants text[] NOT NULL,
  -- Its number may be given to another module: a -dev prerelease.
  replaceable boolean NOT NULL,
  uploaded_at timestamptz NOT NULL,
  PRIMARY KEY (name, version, sha256)
);

-- What a version number means does not change.
CREATE UNIQUE INDEX plugin_versions_by_number ON plugin_versions (name, version) WHERE NOT replaceable;
CREATE INDEX plugin_versions_by_time ON plugin_versions (name, uploaded_at);
