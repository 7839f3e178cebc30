import { MillraceError } from "@millrace/protocol";
import { sql, type Kysely, type Transaction } from "kysely";
import { followChain, pruningRecord, type ChainCheck } from "../audit-chain.ts";
import type { Schema } from "../schema.ts";
import { appendInto } from "./append-audit.ts";
import { readAudit } from "./read-audit.ts";

/** Of one transaction, which appends wait for. */
const mostEntries = 5000;
const pageEntries = 1000;

/**
 * Removes the oldest entries up to the first that is not older, at most 5000, never one that was not told as an event. They are
 * checked before they go; what stays begins at the hash of the last of them, and the trail says so by an entry of its own.
 * @returns how many are gone; 0 when there are no more
 * @throws MillraceError data_loss when the chain does not hold there: nothing is removed
 */
export async function pruneAudit(db: Kysely<Schema>, beforeMs: number, nowMs: number): Promise<number> {
  return db.transaction().execute(async (transaction) => {
    const head = await transaction.selectFrom("audit_head").selectAll().forUpdate().executeTakeFirstOrThrow();
    const from: ChainCheck = { seq: head.pruned_seq, hash: new Uint8Array(head.pruned_hash) };
    const last = Math.min(await oldestUpTo(transaction, from.seq, beforeMs), head.announced_seq);
    if (last <= from.seq) return 0;
    let end = from;
    while (end.seq < last) {
      end = followChain(end, await readAudit(transaction, end.seq, Math.min(pageEntries, last - end.seq)));
      if (end.broken !== undefined) throw new MillraceError("data_loss", `not pruned: ${end.broken.reason}`);
    }
    await sql`SELECT set_config('millrace.prune_audit', 'on', true)`.execute(transaction);
    await transaction.deleteFrom("audit_entries").where("seq", "<=", end.seq).execute();
    await sql`SELECT set_config('millrace.prune_audit', 'off', true)`.execute(transaction);
    await transaction
      .updateTable("audit_head")
      .set({ pruned_seq: end.seq, pruned_hash: Buffer.from(end.hash) })
      .execute();
    await appendInto(transaction, [pruningRecord(end, nowMs)]);
    return end.seq - from.seq;
  });
}

/** The last entry before the first one that is not older, among so many. */
async function oldestUpTo(transaction: Transaction<Schema>, afterSeq: number, beforeMs: number): Promise<number> {
  const row = await transaction
    .selectFrom(
      transaction
        .selectFrom("audit_entries")
        .select(["seq", "at"])
        .where("seq", ">", afterSeq)
        .orderBy("seq")
        .limit(mostEntries)
        .as("oldest"),
    )
    .select(({ fn }) => [
      fn.max("seq").as("last"),
      fn.min("seq").filterWhere("at", ">=", new Date(beforeMs)).as("staying"),
    ])
    .executeTakeFirst();
  return row?.staying == null ? (row?.last ?? afterSeq) : row.staying - 1;
}
