import type { Role } from "@millrace/protocol";
import { sql } from "kysely";
import { emailKey } from "./email-key.ts";
import type { RunQuery } from "./run-query.ts";

/** Lets one person register, or (with a user) set a new password. */
export interface OneTimeCode {
  readonly hash: Uint8Array;
  readonly userId?: string;
  /** Who may register with it; whoever has it when left out. */
  readonly email?: string;
  readonly roles: readonly Role[];
  readonly expiresAtMs: number;
}

/** What a code is good for. */
export interface TakenCode {
  readonly userId: string | undefined;
  readonly roles: readonly Role[];
}

/** Codes that are used once. */
export class OneTimeCodes {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  async insert({ hash, userId, email, roles, expiresAtMs }: OneTimeCode): Promise<void> {
    await this.#run((db) =>
      db
        .insertInto("identity_codes")
        .values({
          code_hash: Buffer.from(hash),
          user_id: userId ?? null,
          email_key: email === undefined ? null : emailKey(email),
          roles: [...roles],
          expires_at: new Date(expiresAtMs),
        })
        .execute(),
    );
  }

  /** Uses an invitation up. Undefined when it is none, has expired, or is for somebody else. */
  takeInvitation(hash: Uint8Array, email: string): Promise<TakenCode | undefined> {
    return this.#take(hash, sql<boolean>`user_id IS NULL AND (email_key IS NULL OR email_key = ${emailKey(email)})`);
  }

  /** Uses a code for a new password up. */
  takeReset(hash: Uint8Array): Promise<TakenCode | undefined> {
    return this.#take(hash, sql<boolean>`user_id IS NOT NULL`);
  }

  async #take(hash: Uint8Array, fits: ReturnType<typeof sql<boolean>>): Promise<TakenCode | undefined> {
    const row = await this.#run((db) =>
      db
        .deleteFrom("identity_codes")
        .where("code_hash", "=", Buffer.from(hash))
        .where("expires_at", ">", sql<Date>`now()`)
        .where(fits)
        .returning(["user_id", "roles"])
        .executeTakeFirst(),
    );
    return row === undefined ? undefined : { userId: row.user_id ?? undefined, roles: row.roles };
  }
}
