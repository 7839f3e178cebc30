CREATE TABLE users (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  email text NOT NULL,
  -- The email as it is compared: normalised, in lower case.
  email_key text COLLATE "C" NOT NULL UNIQUE,
  display_name text NOT NULL,
  -- Numbers of millrace.identity.v1.Role.
  roles integer[] NOT NULL,
  -- Argon2id in its encoded form; null for those who sign in by OIDC only.
  password_hash text,
  password_expired boolean NOT NULL,
  disabled boolean NOT NULL,
  -- Issuer and subject of the OIDC provider, as one text.
  oidc_subject text COLLATE "C" UNIQUE,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  last_login_at timestamptz,
  deleted_at timestamptz
);

CREATE INDEX users_by_time ON users (created_at, id);

-- One login on one device: the family of its refresh tokens.
CREATE TABLE sessions (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  user_id text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
  created_at timestamptz NOT NULL,
  last_used_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  -- No refresh moves the end beyond this.
  ends_at timestamptz NOT NULL,
  address text NOT NULL,
  user_agent text NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE refresh_tokens (
  -- sha256 of the secret.
  secret_hash bytea NOT NULL PRIMARY KEY,
  session_id text COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  -- Used ones are kept as long as their session: a second use shows that somebody else has it.
  used_at timestamptz
);

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE api_tokens (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  user_id text COLLATE "C" NOT NULL REFERENCES users ON DELETE CASCADE,
  name text NOT NULL,
  secret_hash bytea NOT NULL UNIQUE,
  hint text NOT NULL,
  scopes text[] NOT NULL,
  queues text[] NOT NULL,
  types text[] NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  last_used_at timestamptz
);

CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at);

-- Keys of access tokens, as JWK. Only the identity service may read this table.
CREATE TABLE signing_keys (
  kid text COLLATE "C" NOT NULL PRIMARY KEY,
  private_jwk jsonb NOT NULL,
  created_at timestamptz NOT NULL
);

-- Codes that let one person register or set a new password, once.
CREATE TABLE identity_codes (
  code_hash bytea NOT NULL PRIMARY KEY,
  -- Whose password; null for an invitation.
  user_id text COLLATE "C" REFERENCES users ON DELETE CASCADE,
  -- Who may register with it; null for whoever has it.
  email_key text COLLATE "C",
  roles integer[] NOT NULL,
  expires_at timestamptz NOT NULL
);

-- OIDC logins that have begun.
CREATE TABLE oidc_logins (
  state_hash bytea NOT NULL PRIMARY KEY,
  nonce text NOT NULL,
  code_verifier text NOT NULL,
  redirect_uri text NOT NULL,
  -- Of the cookie that ties the login to one browser.
  browser_hash bytea NOT NULL,
  expires_at timestamptz NOT NULL
);

CREATE INDEX oidc_logins_by_end ON oidc_logins (expires_at);

-- Logins that failed, by account and by address.
CREATE TABLE login_failures (
  key text COLLATE "C" NOT NULL PRIMARY KEY,
  failures integer NOT NULL,
  failed_at timestamptz NOT NULL,
  locked_until timestamptz NOT NULL
);

CREATE INDEX login_failures_by_time ON login_failures (failed_at);

-- What ended before its time, for as long as an access token may still name it.
CREATE TABLE revocations (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- session, user or token
  kind text NOT NULL,
  subject text NOT NULL,
  at timestamptz NOT NULL
);

CREATE INDEX revocations_by_time ON revocations (at);
