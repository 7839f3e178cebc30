import { sql } from "kysely";
import { ApiTokens } from "./api-tokens.ts";
import { LoginFailures } from "./login-failures.ts";
import { Members } from "./members.ts";
import { OidcLogins } from "./oidc-logins.ts";
import { OneTimeCodes } from "./one-time-codes.ts";
import { Revocations } from "./revocations.ts";
import type { RunQuery } from "./run-query.ts";
import { Sessions } from "./sessions.ts";
import { SigningKeys } from "./signing-keys.ts";
import { Users } from "./users.ts";

/** Longer than anybody goes on with what was read before the database was out of reach: older revocations say nothing. */
const revocationMs = 2 * 3_600_000;
/** Failed logins that long ago do not count. */
const failureMs = 24 * 3_600_000;
/** Rows of failed logins that are kept; the oldest go first. */
const maxFailures = 100_000;

/** Users, sessions and tokens. Errors are those of Store. */
export class IdentityStore {
  readonly users: Users;
  readonly sessions: Sessions;
  readonly apiTokens: ApiTokens;
  readonly signingKeys: SigningKeys;
  readonly codes: OneTimeCodes;
  readonly oidcLogins: OidcLogins;
  readonly loginFailures: LoginFailures;
  readonly revocations: Revocations;
  readonly members: Members;
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
    this.users = new Users(run);
    this.sessions = new Sessions(run);
    this.apiTokens = new ApiTokens(run);
    this.signingKeys = new SigningKeys(run);
    this.codes = new OneTimeCodes(run);
    this.oidcLogins = new OidcLogins(run);
    this.loginFailures = new LoginFailures(run);
    this.revocations = new Revocations(run);
    this.members = new Members(run);
  }

  /** Removes what has expired. */
  async sweep(): Promise<void> {
    await this.#run(async (db) => {
      for (const table of ["sessions", "refresh_tokens", "api_tokens", "identity_codes", "oidc_logins"] as const) {
        await sql`DELETE FROM ${sql.table(table)} WHERE expires_at < now()`.execute(db);
      }
      await sql`DELETE FROM revocations WHERE at < now() - ${revocationMs} * interval '1 millisecond'`.execute(db);
      await sql`DELETE FROM login_failures WHERE failed_at < now() - ${failureMs} * interval '1 millisecond'`.execute(
        db,
      );
      await sql`DELETE FROM login_failures WHERE key IN (
        SELECT key FROM login_failures ORDER BY failed_at DESC OFFSET ${maxFailures})`.execute(db);
    });
  }
}
