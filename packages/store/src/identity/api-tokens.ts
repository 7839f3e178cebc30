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
  find(secretHash: Uint8Array): Promise<{ readonly token: ApiToken; readonly user: User } | undefined> {
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
      return { token: toApiToken(token), user: toUser(user) };
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
