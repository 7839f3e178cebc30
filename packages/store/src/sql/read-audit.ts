import type { Kysely, Selectable } from "kysely";
import type { ChainCheck, ChainedRecord } from "../audit-chain.ts";
import type { AuditEntriesTable, Schema } from "../schema.ts";

/** The end of the chain, and how much of it was told as events. */
export interface AuditHead {
  readonly seq: number;
  readonly hash: Uint8Array;
  readonly announcedSeq: number;
  /** The last entry that was pruned for its age, which the trail follows; 0 and chainStart when none was. */
  readonly pruned: ChainCheck;
  /** Of the last entry that is there: the same as seq, if nobody has tampered. */
  readonly lastSeq: number;
}

export async function readAuditHead(db: Kysely<Schema>): Promise<AuditHead> {
  // One statement: both are of the same moment.
  const { seq, hash, announced_seq, pruned_seq, pruned_hash, last } = await db
    .selectFrom("audit_head")
    .select(["seq", "hash", "announced_seq", "pruned_seq", "pruned_hash"])
    .select(({ selectFrom }) =>
      selectFrom("audit_entries")
        .select(({ fn }) => fn.max("seq").as("seq"))
        .as("last"),
    )
    .executeTakeFirstOrThrow();
  return {
    seq,
    hash: new Uint8Array(hash),
    announcedSeq: announced_seq,
    pruned: { seq: pruned_seq, hash: new Uint8Array(pruned_hash) },
    lastSeq: last ?? pruned_seq,
  };
}

/** Entries after a place, oldest first, at most so many. */
export async function readAudit(db: Kysely<Schema>, afterSeq: number, limit: number): Promise<ChainedRecord[]> {
  const rows = await db
    .selectFrom("audit_entries")
    .selectAll()
    .where("seq", ">", afterSeq)
    .orderBy("seq")
    .limit(limit)
    .execute();
  return rows.map(toRecord);
}

/** Says that everything up to here was told; never goes back. */
export async function markAuditAnnounced(db: Kysely<Schema>, seq: number): Promise<void> {
  await db.updateTable("audit_head").set({ announced_seq: seq }).where("announced_seq", "<", seq).execute();
}

export function toRecord(row: Selectable<AuditEntriesTable>): ChainedRecord {
  const { at, user_id, token_id, request_id, hash, ...same } = row;
  return {
    ...same,
    atMs: at.getTime(),
    userId: user_id,
    tokenId: token_id,
    requestId: request_id,
    hash: new Uint8Array(hash),
  };
}
