import type { Role } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";
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
  /** User who made it. */
  readonly createdBy: string;
}

/** What a code is good for. */
export interface TakenCode {
  readonly userId: string | undefined;
  readonly roles: readonly Role[];
  /** It was for this email only. */
  readonly namesEmail: boolean;
}

/** Codes that are used once. */
export class OneTimeCodes {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  async insert({ hash, userId, email, roles, expiresAtMs, createdBy }: OneTimeCode): Promise<void> {
    await this.#run((db) =>
      db
        .insertInto("identity_codes")
        .values({
          code_hash: Buffer.from(hash),
          user_id: userId ?? null,
          email_key: email === undefined ? null : emailKey(email),
          roles: [...roles],
          expires_at: new Date(expiresAtMs),
          created_by: createdBy,
        })
        .execute(),
    );
  }

  /** Whether it is an invitation for whoever has this email, not used yet. */
  holdsInvitation(hash: Uint8Array, email: string): Promise<boolean> {
    return this.#holds(hash, invites(email));
  }

  /** Uses an invitation up. Undefined when it is none, has expired, or is for somebody else. */
  takeInvitation(hash: Uint8Array, email: string): Promise<TakenCode | undefined> {
    return this.#take(hash, invites(email));
  }

  /** Whether it is a code for a new password, not used yet. */
  holdsReset(hash: Uint8Array): Promise<boolean> {
    return this.#holds(hash, resets);
  }

  /** Uses a code for a new password up. */
  takeReset(hash: Uint8Array): Promise<TakenCode | undefined> {
    return this.#take(hash, resets);
  }

  async #holds(hash: Uint8Array, fits: Condition): Promise<boolean> {
    const row = await this.#run((db) =>
      db
        .selectFrom("identity_codes")
        .select("code_hash")
        .where("code_hash", "=", Buffer.from(hash))
        .where("expires_at", ">", sql<Date>`now()`)
        .where(fits)
        .executeTakeFirst(),
    );
    return row !== undefined;
  }

  async #take(hash: Uint8Array, fits: Condition): Promise<TakenCode | undefined> {
    const row = await this.#run((db) =>
      db
        .deleteFrom("identity_codes")
        .where("code_hash", "=", Buffer.from(hash))
        .where("expires_at", ">", sql<Date>`now()`)
        .where(fits)
        .returning(["user_id", "roles", "email_key"])
        .executeTakeFirst(),
    );
    if (row === undefined) return undefined;
    return { userId: row.user_id ?? undefined, roles: row.roles, namesEmail: row.email_key !== null };
  }
}

/** Ends the codes that a user made, or was to be given: they said what was right before the user changed. */
export async function deleteCodes(db: Kysely<Schema>, userId: string): Promise<void> {
  await db
    .deleteFrom("identity_codes")
    .where((where) => where.or([where("created_by", "=", userId), where("user_id", "=", userId)]))
    .execute();
}

type Condition = ReturnType<typeof sql<boolean>>;

const resets: Condition = sql<boolean>`user_id IS NOT NULL`;

function invites(email: string): Condition {
  return sql<boolean>`user_id IS NULL AND (email_key IS NULL OR email_key = ${emailKey(email)})`;
}
