import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { MillraceError, type AuditEntry, type ListAuditEntriesRequest } from "@millrace/protocol";
import type { AuditFilter } from "@millrace/store";
import { clip, entryOf, maxObjectChars } from "./audit-entry.ts";
import type { ControlContext } from "./control-context.ts";

/** The years 1 to 9999, as protobuf's own JSON has them. */
const firstSecond = -62_135_596_800n;
const lastSecond = 253_402_300_799n;

/** @throws MillraceError invalid_argument */
export async function listAuditEntries(
  { store }: ControlContext,
  request: ListAuditEntriesRequest,
): Promise<{ entries: AuditEntry[]; nextPageToken: string }> {
  const { userId, email, tokenId, address, action, object, result, requestId, after, before } = request;
  // As the trail keeps them, so that what a caller has made of a name is found again.
  const filter: AuditFilter = {
    userId: clip(userId),
    email: clip(email),
    tokenId: clip(tokenId),
    address: clip(address),
    action: clip(action),
    object: clip(object, maxObjectChars),
    result: clip(result),
    requestId: clip(requestId),
    ...(after === undefined ? {} : { afterMs: instant("after", after) }),
    ...(before === undefined ? {} : { beforeMs: instant("before", before) }),
  };
  const { records, nextPageToken } = await store.audit.list(filter, {
    size: request.pageSize,
    token: request.pageToken,
  });
  return { entries: records.map((record) => entryOf(record, record.previous)), nextPageToken };
}

function instant(field: string, at: Timestamp): number {
  if (at.seconds >= firstSecond && at.seconds <= lastSecond) return timestampMs(at);
  const reason = "must be in the years 1 to 9999";
  throw new MillraceError("invalid_argument", `${field}: ${reason}`, { details: [{ field, reason }] });
}
