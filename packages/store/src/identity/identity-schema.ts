import type { JsonValue } from "@bufbuild/protobuf";
import type { Role } from "@millrace/protocol";
import type { ColumnType, Generated } from "kysely";

/** Rows of users, sessions and tokens. */

export interface UsersTable {
  id: string;
  email: string;
  email_key: string;
  display_name: string;
  roles: Role[];
  password_hash: string | null;
  password_expired: boolean;
  disabled: boolean;
  oidc_subject: string | null;
  created_at: Date;
  updated_at: Date;
  last_login_at: Date | null;
  deleted_at: Date | null;
  reset_asked_at: Date | null;
  email_vouched: boolean;
}

export interface SessionsTable {
  id: string;
  user_id: string;
  created_at: Date;
  last_used_at: Date;
  expires_at: Date;
  ends_at: Date;
  address: string;
  user_agent: string;
}

export interface RefreshTokensTable {
  secret_hash: Buffer;
  session_id: string;
  expires_at: Date;
  used_at: Date | null;
}

export interface ApiTokensTable {
  id: string;
  user_id: string;
  name: string;
  secret_hash: Buffer;
  hint: string;
  scopes: string[];
  queues: string[];
  types: string[];
  created_at: Date;
  expires_at: Date;
  last_used_at: Date | null;
}

export interface SigningKeysTable {
  kid: string;
  private_jwk: ColumnType<JsonValue, string, string>;
  created_at: Date;
}

export interface IdentityCodesTable {
  code_hash: Buffer;
  user_id: string | null;
  email_key: string | null;
  roles: Role[];
  expires_at: Date;
  created_by: string | null;
}

export interface OidcLoginsTable {
  state_hash: Buffer;
  nonce: string;
  code_verifier: string;
  redirect_uri: string;
  browser_hash: Buffer;
  expires_at: Date;
}

export interface LoginFailuresTable {
  key: string;
  failures: number;
  failed_at: Date;
  locked_until: Date;
}

export interface RevocationsTable {
  seq: Generated<number>;
  kind: "session" | "user" | "token";
  subject: string;
  at: Date;
}

export interface IdentityMembersTable {
  id: string;
  seen_at: Date;
}

export interface IdentitySchema {
  users: UsersTable;
  sessions: SessionsTable;
  refresh_tokens: RefreshTokensTable;
  api_tokens: ApiTokensTable;
  signing_keys: SigningKeysTable;
  identity_codes: IdentityCodesTable;
  oidc_logins: OidcLoginsTable;
  login_failures: LoginFailuresTable;
  revocations: RevocationsTable;
  identity_members: IdentityMembersTable;
}
