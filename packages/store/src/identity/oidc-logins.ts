import { sql } from "kysely";
import type { RunQuery } from "./run-query.ts";

/** A login with the OIDC provider that has begun. */
export interface OidcLogin {
  readonly nonce: string;
  readonly codeVerifier: string;
  readonly redirectUri: string;
  /** sha256 of the cookie that ties it to one browser. */
  readonly browserHash: Uint8Array;
}

/** Logins that wait for the provider to send the browser back. */
export class OidcLogins {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  async insert(stateHash: Uint8Array, login: OidcLogin, validMs: number): Promise<void> {
    await this.#run((db) =>
      db
        .insertInto("oidc_logins")
        .values({
          state_hash: Buffer.from(stateHash),
          nonce: login.nonce,
          code_verifier: login.codeVerifier,
          redirect_uri: login.redirectUri,
          browser_hash: Buffer.from(login.browserHash),
          expires_at: sql<Date>`now() + ${validMs} * interval '1 millisecond'`,
        })
        .execute(),
    );
  }

  /** Uses a state up. */
  async take(stateHash: Uint8Array): Promise<OidcLogin | undefined> {
    const row = await this.#run((db) =>
      db
        .deleteFrom("oidc_logins")
        .where("state_hash", "=", Buffer.from(stateHash))
        .where("expires_at", ">", sql<Date>`now()`)
        .returningAll()
        .executeTakeFirst(),
    );
    if (row === undefined) return undefined;
    const { nonce, code_verifier: codeVerifier, redirect_uri: redirectUri, browser_hash: browserHash } = row;
    return { nonce, codeVerifier, redirectUri, browserHash };
  }
}
