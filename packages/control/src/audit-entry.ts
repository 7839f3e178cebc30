import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { AuditEntrySchema, type AuditEntry } from "@millrace/protocol";
import type { AuditRecord, ChainedRecord } from "@millrace/store";

/** Longest text of each kind, in UTF-16 units; what is longer is cut, not refused: the trail must not be dodged by length. */
const maxNameChars = 256;
export const maxObjectChars = 512;

/** A record of the trail from what a door has seen. */
export function recordOf(entry: AuditEntry, nowMs: number): Omit<AuditRecord, "seq"> {
  const { at, actor, address, door, action, object, result, requestId, id } = entry;
  return {
    atMs: at === undefined ? nowMs : Math.trunc(timestampMs(at)),
    id: clip(id),
    userId: clip(actor?.userId || "anonymous"),
    email: clip(actor?.email ?? "").toLowerCase(),
    tokenId: clip(actor?.tokenId ?? ""),
    address: clip(address),
    door: clip(door),
    action: clip(action),
    object: clip(object, maxObjectChars),
    result: clip(result || "ok"),
    requestId: clip(requestId),
  };
}

export function entryOf(record: ChainedRecord, previous: Uint8Array): AuditEntry {
  const { seq, atMs, userId, email, tokenId, hash, address, door, action, object, result, requestId, id } = record;
  return create(AuditEntrySchema, {
    seq: BigInt(seq),
    at: timestampFromMs(atMs),
    actor: { userId, email, tokenId },
    address,
    door,
    action,
    object,
    result,
    requestId,
    id,
    previousHash: hexOf(previous),
    hash: hexOf(hash),
  });
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Text as the trail keeps it: PostgreSQL takes neither NUL nor half of a surrogate pair. */
export function clip(text: string, max: number = maxNameChars): string {
  return text.slice(0, max).replaceAll("\0", "\u{fffd}").toWellFormed();
}
