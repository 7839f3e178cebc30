import type { Kysely, Transaction } from "kysely";
import { chainHash, type AuditRecord, type ChainedRecord } from "../audit-chain.ts";
import type { Schema } from "../schema.ts";

/** Of more than these many parameters a statement of PostgreSQL may not have; an entry has 13. */
const mostRows = 1000;

/**
 * Adds records to the end of the chain, in their order, in one transaction; who comes meanwhile waits. A record whose id is
 * there already is left out, so that a batch may be sent again.
 * @returns the end of the chain
 */
export async function appendAudit(db: Kysely<Schema>, records: readonly Omit<AuditRecord, "seq">[]): Promise<number> {
  if (records.length > mostRows) throw new RangeError(`${records.length} entries at once; at most ${mostRows}`);
  return db.transaction().execute((transaction) => appendInto(transaction, records));
}

/** The same within a transaction that does more. */
export async function appendInto(
  transaction: Transaction<Schema>,
  records: readonly Omit<AuditRecord, "seq">[],
): Promise<number> {
  const head = await transaction.selectFrom("audit_head").select(["seq", "hash"]).forUpdate().executeTakeFirstOrThrow();
  const ids = records.map(({ id }) => id);
  const there = await transaction.selectFrom("audit_entries").select("id").where("id", "in", ids).execute();
  const known = new Set(there.map(({ id }) => id));
  let { seq } = head;
  let hash: Uint8Array = head.hash;
  const added: ChainedRecord[] = [];
  for (const record of records) {
    if (known.has(record.id)) continue;
    known.add(record.id);
    const placed = { ...record, seq: seq + 1 };
    hash = chainHash(hash, placed);
    seq = placed.seq;
    added.push({ ...placed, hash });
  }
  if (added.length === 0) return seq;
  await transaction.insertInto("audit_entries").values(added.map(toRow)).execute();
  await transaction
    .updateTable("audit_head")
    .set({ seq, hash: Buffer.from(hash) })
    .execute();
  return seq;
}

function toRow({ atMs, userId, tokenId, requestId, hash, ...same }: ChainedRecord) {
  return {
    ...same,
    at: new Date(atMs),
    user_id: userId,
    token_id: tokenId,
    request_id: requestId,
    hash: Buffer.from(hash),
  };
}
