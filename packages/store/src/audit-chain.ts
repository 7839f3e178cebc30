import { createHash } from "node:crypto";

/** What one entry says; the hash covers all of it. */
export interface AuditRecord {
  readonly seq: number;
  /** Unix ms, whole. */
  readonly atMs: number;
  readonly id: string;
  readonly userId: string;
  readonly email: string;
  readonly tokenId: string;
  readonly address: string;
  readonly door: string;
  readonly action: string;
  readonly object: string;
  readonly result: string;
  readonly requestId: string;
}

/** A record in its place: the hash covers it and the hash before it. */
export interface ChainedRecord extends AuditRecord {
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

/** What the first entry has before it. */
export const chainStart: Uint8Array = new Uint8Array(32);

/**
 * sha256 of the hash before and the record as JSON: no white space, the names of AuditRecord in their order here.
 * The order is part of the format: another one breaks every trail that exists.
 */
export function chainHash(previous: Uint8Array, record: AuditRecord): Uint8Array {
  const { seq, atMs, id, userId, email, tokenId, address, door, action, object, result, requestId } = record;
  const canonical = JSON.stringify({
    seq,
    atMs,
    id,
    userId,
    email,
    tokenId,
    address,
    door,
    action,
    object,
    result,
    requestId,
  });
  return new Uint8Array(createHash("sha256").update(previous).update(canonical).digest());
}

/** Action of the entry that tells of pruning. No method has this name. */
export const pruningAction = "AuditService/PruneEntries";

/** What the entry that tells of pruning is about: the last one that is gone, and its hash. */
export function pruningObject({ seq, hash }: ChainCheck): string {
  return `${seq}:${Buffer.from(hash).toString("hex")}`;
}

export function pruningRecord(end: ChainCheck, nowMs: number): Omit<AuditRecord, "seq"> {
  return {
    atMs: nowMs,
    id: `pruned-${end.seq}`,
    userId: "system",
    email: "",
    tokenId: "",
    address: "",
    door: "",
    action: pruningAction,
    object: pruningObject(end),
    result: "ok",
    requestId: "",
  };
}

export interface ChainBreak {
  readonly seq: number;
  readonly reason: string;
}

/** The end of what holds, and what follows it wrongly, if anything does. */
export interface ChainCheck {
  readonly seq: number;
  readonly hash: Uint8Array;
  readonly broken?: ChainBreak;
}

/** Follows the chain over records that should come after `from`. */
export function followChain(from: ChainCheck, records: Iterable<ChainedRecord>): ChainCheck {
  let { seq, hash } = from;
  for (const record of records) {
    const expected = seq + 1;
    if (record.seq !== expected) {
      return { seq, hash, broken: { seq: expected, reason: `entry ${expected} is missing` } };
    }
    const computed = chainHash(hash, record);
    if (!sameHash(computed, record.hash)) {
      const reason = `entry ${expected} does not have the hash that it and the entry before it give`;
      return { seq, hash, broken: { seq: expected, reason } };
    }
    [seq, hash] = [record.seq, computed];
  }
  return { seq, hash };
}

/** Compares where a chain that was followed to its end arrived with the end that was noted. */
export function endChain(check: ChainCheck, end: { readonly seq: number; readonly hash: Uint8Array }): ChainCheck {
  if (check.broken !== undefined) return check;
  const { seq, hash } = check;
  if (seq < end.seq) return { ...check, broken: { seq: seq + 1, reason: `entry ${seq + 1} is missing` } };
  if (seq > end.seq) {
    return { ...check, broken: { seq: end.seq + 1, reason: `entry ${end.seq + 1} stands after the end of the trail` } };
  }
  if (sameHash(hash, end.hash)) return check;
  return {
    ...check,
    broken: { seq, reason: `entry ${seq} does not have the hash that was noted at the end of the trail` },
  };
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
