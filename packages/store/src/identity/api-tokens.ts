import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ApiTokenSchema, MillraceError, type ApiToken, type User } from "@millrace/protocol";
import { sql } from "kysely";
import type { ApiTokensTable } from "./identity-schema.ts";
import { insertRevocations } from "./revocations.ts";
import type { RunQuery } from "./run-query.ts";
import { toUser, userColumns } from "./user-from-row.ts";

/** Tokens that one user may have. */
const maxTokens = 200;
/** The time of the last use is written at most so often. */
const usedEveryMs = 60_000;

export interface NewApiToken {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  readonly secretHash: Uint8Array;
  readonly hint: string;
  readonly scopes: readonly string[];
  readonly queues: readonly string[];
  readonly types: readonly string[];
  readonly expiresAtMs: number;
}

/** A token that holds, by the hash of its secret, and the user it stands for, who may sign in. */
export interface HeldToken {
  readonly secretHash: Uint8Array;
  readonly token: ApiToken;
  readonly user: User;
}

/** Tokens of programs. */
export class ApiTokens {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** @throws MillraceError `resource_exhausted` when the user has too many */
  insert(added: NewApiToken): Promise<ApiToken> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        // The row of the user is the lock of its count.
        const user = await tx
          .selectFrom("users")
          .select("id")
          .where("id", "=", added.userId)
          .forUpdate()
          .executeTakeFirst();
        if (user === undefined) throw new MillraceError("unauthenticated", "the user is gone");
        const { count } = await tx
          .selectFrom("api_tokens")
          .select(sql<number>`count(*)::int`.as("count"))
          .where("user_id", "=", added.userId)
          .where("expires_at", ">", sql<Date>`now()`)
          .executeTakeFirstOrThrow();
        if (count >= maxTokens) {
          throw new MillraceError("resource_exhausted", `${maxTokens} tokens are the most: revoke one first`);
        }
        const row = await tx
          .insertInto("api_tokens")
          .values({
            id: added.id,
            user_id: added.userId,
            name: added.name,
            secret_hash: Buffer.from(added.secretHash),
            hint: added.hint,
            scopes: [...added.scopes],
            queues: [...added.queues],
            types: [...added.types],
            created_at: sql<Date>`now()`,
            expires_at: new Date(added.expiresAtMs),
          })
          .returningAll()
          .executeTakeFirstOrThrow();
        return toApiToken(row);
      }),
    );
  }

  /** Oldest first, without those that have expired. */
  async list(userId: string): Promise<ApiToken[]> {
    const rows = await this.#run((db) =>
      db
        .selectFrom("api_tokens")
        .selectAll()
        .where("user_id", "=", userId)
        .where("expires_at", ">", sql<Date>`now()`)
        .orderBy("created_at")
        .orderBy("id")
        .execute(),
    );
    return rows.map(toApiToken);
  }

  /** A token that holds, and the user it stands for, who may sign in; notes the use. */
  find(secretHash: Uint8Array): Promise<HeldToken | undefined> {
    return this.#run(async (db) => {
      const token = await db
        .selectFrom("api_tokens")
        .selectAll()
        .where("secret_hash", "=", Buffer.from(secretHash))
        .where("expires_at", ">", sql<Date>`now()`)
        .executeTakeFirst();
      if (token === undefined) return undefined;
      const user = await db
        .selectFrom("users")
        .select(userColumns)
        .where("id", "=", token.user_id)
        .where("disabled", "=", false)
        .where("deleted_at", "is", null)
        .executeTakeFirst();
      if (user === undefined) return undefined;
      if (Date.now() - (token.last_used_at?.getTime() ?? 0) > usedEveryMs) {
        await db
          .updateTable("api_tokens")
          .set({ last_used_at: sql<Date>`now()` })
          .where("id", "=", token.id)
          .execute();
      }
      return { secretHash, token: toApiToken(token), user: toUser(user) };
    });
  }

  /** Those that hold, and may be used: the ones used or made last, made within so many ms, or of some users. */
  listHeld(
    which: { readonly madeWithinMs: number } | { readonly userIds: readonly string[] } | "all",
    limit: number,
  ): Promise<HeldToken[]> {
    return this.#run(async (db) => {
      let query = db
        .selectFrom("api_tokens")
        .selectAll()
        .where("expires_at", ">", sql<Date>`now()`);
      if (which !== "all") {
        query =
          "userIds" in which
            ? query.where(sql<boolean>`user_id = ANY(${which.userIds}::text[])`)
            : query.where("created_at", ">", sql<Date>`now() - ${which.madeWithinMs} * interval '1 millisecond'`);
      }
      const tokens = await query
        .orderBy(sql`coalesce(last_used_at, created_at)`, "desc")
        .limit(limit)
        .execute();
      if (tokens.length === 0) return [];
      const owners = [...new Set(tokens.map((token) => token.user_id))];
      const users = await db
        .selectFrom("users")
        .select(userColumns)
        .where(sql<boolean>`id = ANY(${owners}::text[])`)
        .where("disabled", "=", false)
        .where("deleted_at", "is", null)
        .execute();
      const byId = new Map(users.map((row) => [row.id, toUser(row)]));
      return tokens.flatMap((row): HeldToken[] => {
        const user = byId.get(row.user_id);
        return user === undefined ? [] : [{ secretHash: row.secret_hash, token: toApiToken(row), user }];
      });
    });
  }

  /** Ends tokens of a user: one by id, or those of a name. False when there was none. */
  revoke(userId: string, which: { readonly id: string } | { readonly name: string }): Promise<boolean> {
    return this.#run((db) =>
      db.transaction().execute(async (tx) => {
        const query = tx.deleteFrom("api_tokens").where("user_id", "=", userId);
        const gone = await ("id" in which ? query.where("id", "=", which.id) : query.where("name", "=", which.name))
          .returning("id")
          .execute();
        await insertRevocations(
          tx,
          "token",
          gone.map((token) => token.id),
        );
        return gone.length > 0;
      }),
    );
  }
}

function toApiToken(row: ApiTokensTable): ApiToken {
  return create(ApiTokenSchema, {
    id: row.id,
    userId: row.user_id,
    name: row.name,
    hint: row.hint,
    scopes: row.scopes,
    queues: row.queues,
    types: row.types,
    createdAt: timestampFromDate(row.created_at),
    expiresAt: timestampFromDate(row.expires_at),
    ...(row.last_used_at === null ? {} : { lastUsedAt: timestampFromDate(row.last_used_at) }),
  });
}
