import { MillraceError } from "@millrace/protocol";
import { sql, type Kysely } from "kysely";
import type { ChainedRecord } from "../audit-chain.ts";
import type { Schema } from "../schema.ts";
import { maxPageSize } from "./list-jobs.ts";
import { toRecord } from "./read-audit.ts";

/** All that are given must hold; "" stands for not given. Times in Unix ms. */
export interface AuditFilter {
  readonly userId?: string;
  readonly email?: string;
  readonly tokenId?: string;
  readonly address?: string;
  /** With a slash at the end: everything that begins so. */
  readonly action?: string;
  readonly object?: string;
  /** `refused`: everything but ok. */
  readonly result?: string;
  readonly requestId?: string;
  readonly afterMs?: number;
  readonly beforeMs?: number;
}

export interface AuditPage {
  /** Each with the hash that stands before it. */
  readonly records: (ChainedRecord & { readonly previous: Uint8Array })[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

const defaultPageSize = 50;

/** Newest first. @throws MillraceError `invalid_argument` for a token that is not ours */
export async function listAudit(
  db: Kysely<Schema>,
  filter: AuditFilter,
  page: { readonly size: number; readonly token: string },
): Promise<AuditPage> {
  const size = Math.min(page.size || defaultPageSize, maxPageSize);
  let query = db
    .selectFrom("audit_entries as entry")
    .leftJoin("audit_entries as before", (join) => join.on("before.seq", "=", sql<number>`entry.seq - 1`))
    .innerJoin("audit_head as head", (join) => join.onTrue())
    .selectAll("entry")
    // The first one follows what was pruned, or the zeros that the trail began with.
    .select(({ fn }) => fn.coalesce("before.hash", "head.pruned_hash").as("previous"));
  const { userId, email, tokenId, address, action, object, result, requestId, afterMs, beforeMs } = filter;
  const equal = {
    user_id: userId,
    email: email?.toLowerCase(),
    token_id: tokenId,
    address,
    object,
    request_id: requestId,
  };
  for (const [column, value] of Object.entries(equal)) {
    if (value) query = query.where(sql<boolean>`${sql.ref(`entry.${column}`)} = ${value}`);
  }
  if (action?.endsWith("/")) query = query.where(sql<boolean>`starts_with(entry.action, ${action})`);
  else if (action) query = query.where("entry.action", "=", action);
  if (result === "refused") query = query.where("entry.result", "<>", "ok");
  else if (result) query = query.where("entry.result", "=", result);
  if (afterMs !== undefined) query = query.where("entry.at", ">=", new Date(afterMs));
  if (beforeMs !== undefined) query = query.where("entry.at", "<", new Date(beforeMs));
  if (page.token !== "") query = query.where("entry.seq", "<", readToken(page.token));
  // One more than asked for tells whether there is a next page.
  const rows = await query
    .orderBy("entry.seq", "desc")
    .limit(size + 1)
    .execute();
  const last = rows.length > size ? rows[size - 1] : undefined;
  return {
    records: rows.slice(0, size).map(({ previous, ...row }) => ({
      ...toRecord(row),
      previous: new Uint8Array(previous),
    })),
    nextPageToken: last === undefined ? "" : String(last.seq),
  };
}

function readToken(token: string): number {
  if (/^[1-9]\d{0,14}$/.test(token)) return Number(token);
  throw new MillraceError("invalid_argument", "the page token is not one of ours", {
    details: [{ field: "page_token", reason: "must come from next_page_token of an earlier answer" }],
  });
}
