import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { MillraceError, SessionSchema, type Session } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import { emailKey } from "./email-key.ts";
import { insertRevocations } from "./revocations.ts";
import type { RunQuery } from "./run-query.ts";

/** Sessions of one user; one more ends the one that has been idle longest. */
const maxSessions = 50;

/**
 * Refreshes of one session within an hour; its program needs four. Used tokens are kept, as a second use tells of a thief, and
 * whoever refreshes in a loop must not fill the table.
 */
const maxRefreshesPerHour = 120;

export interface NewSession {
  readonly id: string;
  readonly userId: string;
  readonly address: string;
  readonly userAgent: string;
  /** sha256 of its first refresh token. */
  readonly refreshHash: Uint8Array;
  /** Ends when it is not refreshed for so long, and after `longestMs` in any case. */
  readonly idleMs: number;
  readonly longestMs: number;
}

/** A session as it goes on. */
export interface OpenSession {
  readonly id: string;
  readonly userId: string;
  readonly expiresAtMs: number;
}

/** What a refresh token led to. */
export type Rotation =
  | { readonly outcome: "rotated"; readonly session: OpenSession }
  /** Used before: somebody else has it, and the session is ended. */
  | { readonly outcome: "reused"; readonly sessionId: string; readonly userId: string }
  /** Used a moment ago, by somebody who may share it. */
  | { readonly outcome: "raced" }
  /** It still holds, and may be used later. */
  | { readonly outcome: "too many" }
  | { readonly outcome: "unknown" };

/** Logins that go on. */
export class Sessions {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** Opens a session, and notes the login with the user. */
  open(added: NewSession): Promise<OpenSession> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        const user = await tx
          .updateTable("users")
          .set({ last_login_at: sql<Date>`now()` })
          .where("id", "=", added.userId)
          .returning("id")
          .executeTakeFirst();
        if (user === undefined) throw new MillraceError("unauthenticated", "the user is gone");
        const idle = await tx
          .selectFrom("sessions")
          .select("id")
          .where("user_id", "=", added.userId)
          .orderBy("last_used_at", "desc")
          .offset(maxSessions - 1)
          .execute();
        await remove(
          tx,
          idle.map((session) => session.id),
        );
        const { expires_at: expiresAt } = await tx
          .insertInto("sessions")
          .values({
            id: added.id,
            user_id: added.userId,
            created_at: sql<Date>`now()`,
            last_used_at: sql<Date>`now()`,
            expires_at: inMs(added.idleMs),
            ends_at: inMs(added.longestMs),
            address: added.address,
            user_agent: added.userAgent,
          })
          .returning("expires_at")
          .executeTakeFirstOrThrow();
        await tx
          .insertInto("refresh_tokens")
          .values({ secret_hash: Buffer.from(added.refreshHash), session_id: added.id, expires_at: expiresAt })
          .execute();
        return {
          id: added.id,
          userId: added.userId,
          expiresAtMs: expiresAt.getTime(),
        };
      }),
    );
  }

  /**
   * Uses a refresh token up, and puts another in its place. A second use ends the session.
   * @param sharedMs a second use within gets nothing, and ends nothing
   */
  rotate(usedHash: Uint8Array, nextHash: Uint8Array, idleMs: number, sharedMs = 0): Promise<Rotation> {
    return this.#run((db) =>
      db.transaction().execute(async (tx): Promise<Rotation> => {
        const hash = Buffer.from(usedHash);
        // The session first, as whoever ends it does: uses of one token wait for one another here.
        const family = await tx
          .selectFrom("refresh_tokens as t")
          .innerJoin("sessions as s", "s.id", "t.session_id")
          .select(["s.id", "s.user_id"])
          .where("t.secret_hash", "=", hash)
          .forUpdate("s")
          .executeTakeFirst();
        if (family === undefined) return { outcome: "unknown" };
        const token = await tx
          .selectFrom("refresh_tokens")
          .select(["used_at", sql<boolean>`expires_at > now()`.as("holds")])
          .select(sql<boolean>`used_at > now() - ${sharedMs} * interval '1 millisecond'`.as("shared"))
          .where("secret_hash", "=", hash)
          .executeTakeFirst();
        if (token === undefined) return { outcome: "unknown" };
        if (token.used_at !== null) {
          if (sharedMs > 0 && token.shared) return { outcome: "raced" };
          await remove(tx, [family.id]);
          return { outcome: "reused", sessionId: family.id, userId: family.user_id };
        }
        if (!token.holds) return { outcome: "unknown" };
        const recent = await tx
          .selectFrom("refresh_tokens")
          .select(({ fn }) => fn.countAll<string>().as("count"))
          .where("session_id", "=", family.id)
          .where("used_at", ">", sql<Date>`now() - interval '1 hour'`)
          .executeTakeFirstOrThrow();
        if (Number(recent.count) >= maxRefreshesPerHour) return { outcome: "too many" };
        await tx
          .updateTable("refresh_tokens")
          .set({ used_at: sql<Date>`now()` })
          .where("secret_hash", "=", hash)
          .execute();
        const row = await tx
          .updateTable("sessions")
          .set({ last_used_at: sql<Date>`now()`, expires_at: sql<Date>`least(${inMs(idleMs)}, ends_at)` })
          .where("id", "=", family.id)
          .returning(["id", "user_id", "expires_at"])
          .executeTakeFirstOrThrow();
        await tx
          .insertInto("refresh_tokens")
          .values({ secret_hash: Buffer.from(nextHash), session_id: row.id, expires_at: row.expires_at })
          .execute();
        const session: OpenSession = {
          id: row.id,
          userId: row.user_id,
          expiresAtMs: row.expires_at.getTime(),
        };
        return { outcome: "rotated", session };
      }),
    );
  }

  /** The addresses that whoever has the email is signed in from; none for an email that nobody has. */
  async addressesOf(email: string): Promise<string[]> {
    const rows = await this.#run((db) =>
      db
        .selectFrom("sessions")
        .innerJoin("users", "users.id", "sessions.user_id")
        .select("sessions.address")
        .where("users.email_key", "=", emailKey(email))
        .where("sessions.expires_at", ">", sql<Date>`now()`)
        .execute(),
    );
    return rows.map(({ address }) => address);
  }

  /** Last used first. */
  async list(userId: string): Promise<Session[]> {
    const rows = await this.#run((db) =>
      db
        .selectFrom("sessions")
        .selectAll()
        .where("user_id", "=", userId)
        .where("expires_at", ">", sql<Date>`now()`)
        .orderBy("last_used_at", "desc")
        .execute(),
    );
    return rows.map((row) =>
      create(SessionSchema, {
        id: row.id,
        createdAt: timestampFromDate(row.created_at),
        lastUsedAt: timestampFromDate(row.last_used_at),
        expiresAt: timestampFromDate(row.expires_at),
        address: row.address,
        userAgent: row.user_agent,
      }),
    );
  }

  /** Ends one session of a user. False when there is none. */
  end(userId: string, id: string): Promise<boolean> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        const found = await tx
          .selectFrom("sessions")
          .select("id")
          .where("id", "=", id)
          .where("user_id", "=", userId)
          .forUpdate()
          .executeTakeFirst();
        if (found === undefined) return false;
        await remove(tx, [found.id]);
        return true;
      }),
    );
  }

  async endAll(userId: string): Promise<void> {
    await this.#run((db) => db.transaction().execute((tx) => endSessions(tx, userId)));
  }
}

/** Ends all sessions of a user, or all but one. */
export async function endSessions(db: Kysely<Schema>, userId: string, exceptId = ""): Promise<void> {
  const found = await db
    .selectFrom("sessions")
    .select("id")
    .where("user_id", "=", userId)
    .where("id", "!=", exceptId)
    .forUpdate()
    .execute();
  await remove(
    db,
    found.map((session) => session.id),
  );
}

/** Its refresh tokens go with it. */
async function remove(db: Kysely<Schema>, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await db.deleteFrom("sessions").where("id", "in", ids).execute();
  await insertRevocations(db, "session", ids);
}

function inMs(ms: number): ReturnType<typeof sql<Date>> {
  return sql<Date>`now() + ${ms} * interval '1 millisecond'`;
}
