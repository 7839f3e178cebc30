import { MillraceError, Role, type User } from "@millrace/protocol";
import { sql, type Kysely, type Transaction, type Updateable } from "kysely";
import pg from "pg";
import type { Schema } from "../schema.ts";
import { emailKey } from "./email-key.ts";
import type { UsersTable } from "./identity-schema.ts";
import { deleteCodes } from "./one-time-codes.ts";
import { insertRevocations } from "./revocations.ts";
import type { RunQuery } from "./run-query.ts";
import { endSessions } from "./sessions.ts";
import { toUser, userColumns } from "./user-from-row.ts";
import { listUsers, type UserFilter, type UserPage } from "./user-page.ts";

export interface NewUser {
  readonly id: string;
  readonly email: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly passwordHash?: string;
  readonly passwordExpired?: boolean;
  readonly oidcSubject?: string;
  /** False: nobody but the person itself says that the email is theirs. */
  readonly emailVouched?: boolean;
}

/** A user with what is asked for at the door. */
export interface StoredUser {
  readonly user: User;
  /** Undefined: signs in by OIDC only. */
  readonly passwordHash: string | undefined;
}

/** What is given is changed. */
export interface UserChanges {
  readonly email?: string;
  readonly displayName?: string;
  readonly roles?: readonly Role[];
  readonly disabled?: boolean;
}

/** Whoever asks again and again is written down this often. */
const resetNotedEveryMs = 60_000;
const uniqueViolation = "23505";

/** The users. Changes of what they may do void the access tokens that were issued before, in the same transaction. */
export class Users {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** @throws MillraceError `already_exists` when somebody has the email, deleted or not */
  insert(added: NewUser): Promise<User> {
    return this.#run((db) =>
      named(added.email, async () => {
        const row = await db
          .insertInto("users")
          .values({
            id: added.id,
            email: added.email.trim(),
            email_key: emailKey(added.email),
            display_name: added.displayName,
            roles: [...added.roles],
            password_hash: added.passwordHash ?? null,
            password_expired: added.passwordExpired ?? false,
            disabled: false,
            oidc_subject: added.oidcSubject ?? null,
            email_vouched: added.emailVouched ?? true,
            created_at: sql<Date>`now()`,
            updated_at: sql<Date>`now()`,
          })
          .returning(userColumns)
          .executeTakeFirstOrThrow();
        return toUser(row);
      }),
    );
  }

  get(id: string): Promise<StoredUser | undefined> {
    return this.#find((db) => db.selectFrom("users").selectAll().where("id", "=", id));
  }

  /** Deleted ones too. */
  findByEmail(email: string): Promise<StoredUser | undefined> {
    return this.#find((db) => db.selectFrom("users").selectAll().where("email_key", "=", emailKey(email)));
  }

  findByOidc(subject: string): Promise<StoredUser | undefined> {
    return this.#find((db) => db.selectFrom("users").selectAll().where("oidc_subject", "=", subject));
  }

  /** For issuing a token: what it says was true at `readAtMs`, and a later change voids it. */
  async readGrant(id: string): Promise<{ readonly user: User; readonly readAtMs: number } | undefined> {
    const row = await this.#run((db) =>
      db
        .selectFrom("users")
        .select(userColumns)
        .select(sql<Date>`now()`.as("read_at"))
        .where("id", "=", id)
        .forShare()
        .executeTakeFirst(),
    );
    return row === undefined ? undefined : { user: toUser(row), readAtMs: row.read_at.getTime() };
  }

  list(filter: UserFilter, order: string, page: { readonly size: number; readonly token: string }): Promise<UserPage> {
    return this.#run((db) => listUsers(db, filter, order, page));
  }

  /** Whether nobody has ever been added. */
  async isEmpty(): Promise<boolean> {
    const row = await this.#run((db) => db.selectFrom("users").select("id").limit(1).executeTakeFirst());
    return row === undefined;
  }

  /** The administrator that has been there longest, who may sign in. */
  async firstAdministrator(): Promise<User | undefined> {
    const row = await this.#run((db) =>
      db
        .selectFrom("users")
        .select(userColumns)
        .where(activeAdministrator)
        .orderBy("created_at")
        .limit(1)
        .executeTakeFirst(),
    );
    return row === undefined ? undefined : toUser(row);
  }

  /**
   * Changes a user who is not deleted.
   * @param allow may throw, having seen the user as it is
   * @throws MillraceError `not_found`, `already_exists` for the email, `failed_precondition` for the last administrator
   */
  change(id: string, changes: UserChanges, allow: (user: User) => void): Promise<User> {
    return this.#run((db) =>
      named(changes.email ?? "", () =>
        db.transaction().execute(async (tx) => {
          const before = await lockUser(tx, id);
          if (before.deletedAt !== undefined) throw notFound(id);
          allow(before);
          const { email, displayName, roles, disabled } = changes;
          const after = await update(tx, id, {
            ...(email === undefined ? {} : { email: email.trim(), email_key: emailKey(email) }),
            ...(displayName === undefined ? {} : { display_name: displayName }),
            ...(roles === undefined ? {} : { roles: [...roles] }),
            ...(disabled === undefined ? {} : { disabled }),
          });
          if (isAdministrator(before) && !isAdministrator(after)) await keepOneAdministrator(tx);
          if (disabled === true) await endSessions(tx, id);
          // What it could hand on when it made them, or could do when they were made for it, is not so any more.
          if (disabled === true || after.roles.join() !== before.roles.join()) await deleteCodes(tx, id);
          // Email and roles stand in access tokens.
          const stale = after.email !== before.email || after.roles.join() !== before.roles.join();
          // One who may come in again had no tokens; those who keep them in memory hear of it this way.
          if (stale || disabled === true || before.disabled !== after.disabled)
            await insertRevocations(tx, "user", [id]);
          return after;
        }),
      ),
    );
  }

  /**
   * Signs the user out and hides it; one that is hidden, or with purge, is removed with all that is its own.
   * @returns whether it is removed
   * @throws MillraceError `not_found`, `failed_precondition` for the last administrator
   */
  async delete(id: string, purge: boolean, allow: (user: User) => void): Promise<boolean> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        const before = await lockUser(tx, id);
        allow(before);
        await endSessions(tx, id);
        await deleteTokens(tx, id);
        await deleteCodes(tx, id);
        const removed = purge || before.deletedAt !== undefined;
        if (removed) await tx.deleteFrom("users").where("id", "=", id).execute();
        else await update(tx, id, { deleted_at: sql<Date>`now()` as unknown as Date });
        if (isAdministrator(before)) await keepOneAdministrator(tx);
        await insertRevocations(tx, "user", [id]);
        return removed;
      }),
    );
  }

  /** Sets a password and ends all sessions but one. False when the user is gone. */
  setPassword(
    id: string,
    { hash, expired, keepSession = "" }: { hash: string; expired: boolean; keepSession?: string },
  ): Promise<boolean> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        const changed = await tx
          .updateTable("users")
          .set({
            password_hash: hash,
            password_expired: expired,
            reset_asked_at: null,
            updated_at: sql<Date>`now()`,
          })
          .where("id", "=", id)
          .where("deleted_at", "is", null)
          .returning("id")
          .executeTakeFirst();
        if (changed === undefined) return false;
        await endSessions(tx, id, keepSession);
        return true;
      }),
    );
  }

  /** Notes that the user wants a new password, at most so often; nothing for an email that nobody has. */
  async noteResetAsked(email: string): Promise<void> {
    await this.#run((db) =>
      db
        .updateTable("users")
        .set({ reset_asked_at: sql<Date>`now()` })
        .where("email_key", "=", emailKey(email))
        .where("deleted_at", "is", null)
        .where(sql<boolean>`coalesce(reset_asked_at < now() - ${resetNotedEveryMs} * interval '1 millisecond', true)`)
        .execute(),
    );
  }

  /** The same password with other costs; nothing when it has been changed meanwhile. */
  async rehash(id: string, from: string, to: string): Promise<void> {
    await this.#run((db) =>
      db
        .updateTable("users")
        .set({ password_hash: to })
        .where("id", "=", id)
        .where("password_hash", "=", from)
        .execute(),
    );
  }

  /**
   * Ties an account of the OIDC provider to a user that has none yet. Where somebody else may know the password, because it is
   * a one-time password or because it was chosen by whoever registered with the email, it ends with all that was got by it.
   * False when the user is gone or has another account.
   */
  linkOidc(id: string, subject: string): Promise<boolean> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        const row = await tx
          .selectFrom("users")
          .select(["oidc_subject", "email_vouched", "password_expired"])
          .where("id", "=", id)
          .where("deleted_at", "is", null)
          .forUpdate()
          .executeTakeFirst();
        if (row === undefined || row.oidc_subject !== null) return false;
        const trusted = row.email_vouched && !row.password_expired;
        await update(tx, id, {
          oidc_subject: subject,
          email_vouched: true,
          ...(trusted ? {} : { password_hash: null, password_expired: false }),
        });
        if (trusted) return true;
        await endSessions(tx, id);
        await deleteTokens(tx, id);
        await deleteCodes(tx, id);
        return true;
      }),
    );
  }

  async #find(
    query: (db: Kysely<Schema>) => { executeTakeFirst(): Promise<UsersTable | undefined> },
  ): Promise<StoredUser | undefined> {
    const row = await this.#run((db) => query(db).executeTakeFirst());
    return row === undefined ? undefined : { user: toUser(row), passwordHash: row.password_hash ?? undefined };
  }
}

const activeAdministrator = sql<boolean>`${Role.ADMINISTRATOR} = ANY(roles) AND NOT disabled AND deleted_at IS NULL`;

function isAdministrator(user: User): boolean {
  return user.roles.includes(Role.ADMINISTRATOR) && !user.disabled && user.deletedAt === undefined;
}

async function lockUser(tx: Transaction<Schema>, id: string): Promise<User> {
  // All administrators in one order: two that demote one another at the same time wait, and one of them is refused.
  await tx.selectFrom("users").select("id").where(activeAdministrator).orderBy("id").forUpdate().execute();
  const row = await tx.selectFrom("users").select(userColumns).where("id", "=", id).forUpdate().executeTakeFirst();
  if (row === undefined) throw notFound(id);
  return toUser(row);
}

async function update(tx: Transaction<Schema>, id: string, changes: Updateable<UsersTable>): Promise<User> {
  const row = await tx
    .updateTable("users")
    .set({ ...changes, updated_at: sql<Date>`now()` })
    .where("id", "=", id)
    .returning(userColumns)
    .executeTakeFirstOrThrow();
  return toUser(row);
}

async function keepOneAdministrator(tx: Transaction<Schema>): Promise<void> {
  const left = await tx.selectFrom("users").select("id").where(activeAdministrator).limit(1).executeTakeFirst();
  if (left === undefined) {
    throw new MillraceError("failed_precondition", "the last administrator has to stay: make another one first");
  }
}

async function deleteTokens(tx: Transaction<Schema>, userId: string): Promise<void> {
  const gone = await tx.deleteFrom("api_tokens").where("user_id", "=", userId).returning("id").execute();
  await insertRevocations(
    tx,
    "token",
    gone.map((token) => token.id),
  );
}

function notFound(id: string): MillraceError {
  return new MillraceError("not_found", `no user ${id}`);
}

/** Tells a taken email in words for the caller. */
async function named<T>(email: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== uniqueViolation) throw error;
    throw new MillraceError("already_exists", `somebody has the email ${email}`, {
      cause: error,
      details: [{ field: "email", reason: "is taken" }],
    });
  }
}
