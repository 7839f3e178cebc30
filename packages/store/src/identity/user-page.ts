import { MillraceError, type Role, type User } from "@millrace/protocol";
import { sql, type Kysely, type RawBuilder } from "kysely";
import type { Schema } from "../schema.ts";
import { maxPageSize } from "../sql/list-jobs.ts";
import { toUser, userColumns } from "./user-from-row.ts";

/** All that are given must hold; 0 and "" stand for not given. */
export interface UserFilter {
  readonly role: Role;
  /** Part of the email or name, in any case. */
  readonly search: string;
  readonly includeDeleted: boolean;
  /** Only those who have asked for a new password. */
  readonly resetAsked: boolean;
}

export interface UserPage {
  readonly users: User[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

const defaultPageSize = 50;
/** What a page may be sorted by: the column as it stands, which an index may have in its order, and its value in the token. */
const sortKeys = {
  email: {
    column: sql<unknown>`email_key`,
    text: sql<string>`email_key`,
    isKey: () => true,
    value: (key: string) => sql`${key}::text`,
  },
  created_at: instants(sql<unknown>`created_at`),
  // Who has never come in stands before all others.
  last_login_at: instants(sql<unknown>`coalesce(last_login_at, 'epoch')`),
};

/** As Unix time in microseconds, which a Date does not keep. */
function instants(column: RawBuilder<unknown>) {
  return {
    column,
    text: sql<string>`(extract(epoch FROM ${column}) * 1000000)::bigint::text`,
    // No number of so many digits is beyond what a timestamp holds.
    isKey: (key: string) => /^\d{1,16}$/.test(key),
    value: (key: string) => sql`(timestamptz 'epoch' + ${key}::bigint * interval '1 microsecond')`,
  };
}

/**
 * Users page by page.
 * @param order a column of the contract's ListUsers, with a minus in front for descending; created_at when ""
 * @throws MillraceError `invalid_argument` for another order, or a token that is not of this order
 */
export async function listUsers(
  db: Kysely<Schema>,
  filter: UserFilter,
  order: string,
  page: { readonly size: number; readonly token: string },
): Promise<UserPage> {
  const descending = order.startsWith("-");
  const name = order.replace(/^-/, "") || "created_at";
  if (!isSortKey(name)) {
    throw invalid("order_by", "must be email, created_at or last_login_at, with - in front for the other direction");
  }
  const { column, text, isKey, value } = sortKeys[name];
  const size = Math.min(page.size || defaultPageSize, maxPageSize);
  let query = db.selectFrom("users").select(userColumns).select(text.as("sort_key"));
  if (filter.role) query = query.where(sql<boolean>`${filter.role} = ANY(roles)`);
  if (filter.search) {
    const part = filter.search.toLowerCase();
    query = query.where(sql<boolean>`(strpos(email_key, ${part}) > 0 OR strpos(lower(display_name), ${part}) > 0)`);
  }
  if (filter.resetAsked) query = query.where("reset_asked_at", "is not", null);
  if (!filter.includeDeleted) query = query.where("deleted_at", "is", null);
  if (page.token !== "") {
    const after = decodeToken(page.token, order, isKey);
    const compare = descending ? sql`<` : sql`>`;
    query = query.where(sql<boolean>`(${column}, id) ${compare} (${value(after.key)}, ${after.id}::text)`);
  }
  const direction = descending ? "desc" : "asc";
  // One more than asked for tells whether there is a next page.
  const rows = await query
    .orderBy(column, direction)
    .orderBy("id", direction)
    .limit(size + 1)
    .execute();
  const last = rows.length > size ? rows[size - 1] : undefined;
  return {
    users: rows.slice(0, size).map(toUser),
    nextPageToken: last === undefined ? "" : encodeToken(order, last.sort_key, last.id),
  };
}

function isSortKey(name: string): name is keyof typeof sortKeys {
  return Object.hasOwn(sortKeys, name);
}

function encodeToken(order: string, key: string, id: string): string {
  return Buffer.from(JSON.stringify([order, key, id])).toString("base64url");
}

function decodeToken(token: string, order: string, isKey: (key: string) => boolean): { key: string; id: string } {
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Array.isArray(parts) && parts[0] === order && parts.slice(1).every((part) => typeof part === "string")) {
      const [, key, id] = parts as string[];
      // PostgreSQL takes no text with a zero byte.
      if (key !== undefined && id !== undefined && isKey(key) && !`${key}${id}`.includes("\0")) return { key, id };
    }
  } catch {
    // Told below.
  }
  throw invalid("page_token", "must come from next_page_token of an earlier answer to the same question");
}

function invalid(field: string, reason: string): MillraceError {
  return new MillraceError("invalid_argument", `${field} ${reason}`, { details: [{ field, reason }] });
}
